"""Large files: they are imported completely and in linear time, or refused before anything is read."""

from __future__ import annotations

import pytest

from taskflow.http import files
from taskflow.tenancy import inside
from tasks.csv import importing, references
from tasks.csv.importing import MAX_TAG_NAMES
from tasks.models import Tag, Task, TaskBlocker, TaskTag
from tasks.models.graph import find_circles
from tasks.tests.csv_files import load


@pytest.fixture
def ada(fixtures, as_):
    return as_(fixtures.ada)


def test_file_with_too_many_different_tags_is_refused_without_a_query_for_them(
    fixtures, ada, assert_statements
):
    rows = "".join(f"x,{';'.join(f'{n}_{k}' for k in range(20))}\n" for n in range(60))
    ada.get("/me")  # the first use of a token is recorded

    with assert_statements(2):  # token and project
        r = load(ada, f"title,tags\n{rows}")

    assert (r.status_code, r.json()["code"]) == (422, "too_many")
    assert (str(MAX_TAG_NAMES) in r.json()["detail"], "1200" in r.json()["detail"]) == (True, True)


def test_file_with_too_many_comments_or_outside_references_is_refused(ada, monkeypatch):
    monkeypatch.setattr(importing, "MAX_COMMENTS", 1)
    monkeypatch.setattr(references, "MAX_OUTSIDE_REFS", 1)
    comments = "title,comment,comment\nx,;;one,;;two\n"

    assert load(ada, comments, map={"comment": "comment"}).json()["code"] == "too_many"
    assert load(ada, "title,blocked_by\nx,APO-1;APO-2\n").json()["code"] == "too_many"


def test_file_that_names_tasks_of_too_many_projects_is_refused(ada):
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    keys = ";".join(f"{a}{b}-1" for a in letters for b in letters[:4])

    r = load(ada, f"title,blocked_by\nx,{keys}\n")

    assert (r.status_code, r.json()["code"]) == (422, "too_many")


@pytest.mark.parametrize(
    ("edges", "on_circles"),
    [
        ({}, set()),
        ({1: {2}, 2: {3}}, set()),
        ({1: {1}}, {1}),
        ({1: {2}, 2: {1}, 3: {1}, 2_000: {3}}, {1, 2}),
        ({1: {2}, 2: {3}, 3: {1}, 4: {5}, 5: {6}}, {1, 2, 3}),
    ],
)
def test_circles_of_edges_are_found(edges, on_circles):
    assert find_circles(edges) == on_circles


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "windows-1252"])
def test_long_export_is_sent_from_a_file_in_parts(fixtures, ada, monkeypatch, charset):
    rows = "".join(f"Grüße {n},{'x' * 50}\n" for n in range(100))
    assert load(ada, f"title,description\n{rows}").status_code == 200
    path = f"/projects/APO/tasks.csv?charset={charset}"
    whole = ada.get(path)
    monkeypatch.setattr(files, "MAX_BYTES_IN_MEMORY", 1000)
    monkeypatch.setattr(files.WrittenFile, "block_size", 1000)

    r = ada.get(path)

    parts = list(r.streaming_content)
    assert (whole.streaming, r.streaming, len(parts) > 5) == (False, True, True)
    assert b"".join(parts) == whole.content
    assert r["Content-Length"] == str(len(whole.content))
    assert r["Content-Type"] == whole["Content-Type"] == f"text/csv; charset={charset}"


def test_long_export_with_a_character_that_the_charset_lacks_is_refused(ada, monkeypatch):
    monkeypatch.setattr(files, "MAX_BYTES_IN_MEMORY", 1000)
    rows = "".join(f"x{n},{'x' * 50}\n" for n in range(100))
    assert load(ada, f"title,description\n{rows}Ω,\n").status_code == 200

    r = ada.get("/projects/APO/tasks.csv?charset=windows-1252")

    assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, "charset")
    assert "“Ω”" in r.json()["detail"]


@pytest.mark.slow
def test_4000_rows_with_20_tags_each_are_imported(fixtures, ada):
    tags = [";".join(f"t{(n + k) % 90}" for k in range(20)) for n in range(4000)]
    text = "title,tags\n" + "".join(f"x{n},{cell}\n" for n, cell in enumerate(tags))

    r = load(ada, text)

    assert (r.status_code, r.json()["created"]) == (200, 4000), r.content
    with inside(fixtures.acme):
        assert (Tag.objects.count(), TaskTag.objects.count()) == (90, 80_000)


@pytest.mark.slow
def test_chain_of_2000_blockers_and_subtasks_is_imported_and_changed(fixtures, ada):
    rows = [f"K-{n},x{n},{f'K-{n + 1}' if n < 2000 else ''},{f'K-{n - n % 4}' if n % 4 else ''}"
            for n in range(1, 2001)]  # fmt: skip
    rows = [row.removesuffix(",K-0") + "," * row.endswith(",K-0") for row in rows]

    r = load(ada, "key,title,blocked_by,parent\n" + "\n".join(rows))

    assert (r.status_code, r.json()["created"]) == (200, 2000), r.content
    with inside(fixtures.acme):
        assert TaskBlocker.objects.count() == 1999
        assert Task.objects.filter(parent__isnull=False).count() == 1497
    changed = ada.get("/projects/APO/tasks.csv").content.decode()
    changed = changed.replace(",todo,", ",in_progress,")
    r = load(ada, changed, on_existing="update")
    assert (r.status_code, r.json()["updated"]) == (200, 2001), r.content
