from __future__ import annotations

from urllib.parse import quote

import pytest


def put(client, ref="r", **body):
    return client.put(f"/projects/APO/tasks/by-ref/{quote(ref)}", body)


def test_first_upsert_creates_the_task_and_second_changes_it(fixtures, as_, events):
    client = as_(fixtures.bob)

    made, changed = put(client, title="a", tags=["t"]), put(client, status="in_progress")

    assert (made.status_code, changed.status_code) == (201, 200)
    assert made.headers["Location"] == f"/api/v1/tasks/{made.json()['id']}"
    same = ("id", "title", "external_ref", "tags")
    assert [made.json()[n] for n in same] == [changed.json()[n] for n in same]
    assert (changed.json()["status"], changed.json()["version"]) == ("in_progress", 2)
    assert put(client, status="in_progress").json()["version"] == 2
    assert len(events(fixtures.acme, subject_type="task", subject_id=made.json()["id"])) == 2


def test_new_task_without_title_is_refused(fixtures, as_):
    r = put(as_(fixtures.bob))

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/title")


@pytest.mark.parametrize("ref", ["a/b", "x y", "ü#?", "by-ref/1", "x" * 255])
def test_any_text_is_accepted_as_ref(fixtures, as_, ref):
    assert put(as_(fixtures.bob), ref, title="x").json()["external_ref"] == ref


def test_too_long_ref_is_refused(fixtures, as_):
    assert put(as_(fixtures.bob), "x" * 256, title="x").status_code == 422


def test_external_ref_in_the_body_is_refused(fixtures, as_):
    assert put(as_(fixtures.bob), title="x", external_ref="other").status_code == 422


def test_task_in_the_trash_is_a_conflict_that_names_it(fixtures, as_):
    client = as_(fixtures.bob)
    client.delete(f"/tasks/{put(client, title='x').json()['id']}")

    r = put(client, title="x")

    assert (r.status_code, "is in the trash. Restore it first." in r.json()["detail"]) == (
        409,
        True,
    )


def test_project_of_a_non_member_is_not_found(fixtures, as_):
    for actor in (fixtures.eve, fixtures.mallory):
        assert put(as_(actor), title="x").status_code == 404
