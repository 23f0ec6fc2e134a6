"""What is exported comes back equal: in the same project and in another one."""

from __future__ import annotations

import csv
import io
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import ApiClient, token_of
from taskflow.db.text import fold_key, is_one_line, is_visible
from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task, update_task
from tasks.csv.values import join_tags, protect, split_tags, unprotect
from tasks.models import Task

pytestmark = [pytest.mark.slow, pytest.mark.one_database]

VALUE_COLUMNS = ("title", "description", "status", "priority", "assignee", "tags", "due_date",
                 "due_on", "external_ref", "links", "metadata", "created_by", "created_at",
                 "completed_at")  # fmt: skip
ODD = ["=1+1", "+1", "-1", "@x", "'", "''", "'=x", "'x", "\t", '"', "a;b", "a,b", "a\nb", "a\r\nb",
       ";", '"a"', "ÄÖ", "🚀", "-0", "1e5", "TRUE", "null", "APO-1", " "]  # fmt: skip
character = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.sampled_from(ODD) | st.text(character, max_size=12)
one_line = texts.map(lambda text: " ".join(text.split()))
names = one_line.filter(lambda text: is_one_line(text) and is_visible(text))
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(-1e15, 1e15, allow_nan=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
urls = st.sampled_from(
    ["https://a.example", "http://b.example:80/x;y,z?q='=1", "HTTPS://ä.example"]
)
links = st.fixed_dictionaries({"url": urls, "title": st.none() | names})
tasks = st.fixed_dictionaries(
    {
        "title": names,
        "description": texts.map(str.strip),
        "status": st.sampled_from(["todo", "in_progress", "done"]),
        "priority": st.sampled_from(["low", "medium", "high"]),
        "tags": st.lists(names, max_size=3, unique_by=fold_key),
        "links": st.lists(links, max_size=3),
        "metadata": st.dictionaries(texts, json_values, max_size=2),
    },
    optional={"due_on": st.just("2026-12-01"), "due_date": st.just("2026-12-01T08:00:00.5Z")},
).filter(lambda task: not {"due_on", "due_date"} <= task.keys())
HOW = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def export(client, project, query=""):
    r = client.get(f"/projects/{project}/tasks.csv{query}")
    assert r.status_code == 200, r.content
    return r.content


def load(client, project, body, query="", content_type="text/csv"):
    path = f"/projects/{project}/tasks.csv{query}"
    return client.generic("POST", path, body, content_type=content_type)


def read(body):
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


def numbers_of(body):
    return [row["key"].partition("-")[2] for row in read(body)]


def values(body):
    return [{name: row[name] for name in VALUE_COLUMNS} for row in read(body)]


@given(st.lists(names.filter(lambda name: name == name.strip()), max_size=4))
@HOW
def test_tags_of_a_cell_are_the_tags_that_were_joined(tags):
    assert split_tags(join_tags(tags)) == tags


@given(texts)
@HOW
def test_protected_text_is_read_as_it_was(text):
    assert unprotect(protect(text)) == text
    assert not protect(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.slow
@pytest.mark.django_db
def test_stored_values_come_back_equal(fixtures):
    boss = ApiClient(token_of(fixtures.boss))

    @given(st.lists(tasks, min_size=1, max_size=4), st.randoms(use_true_random=False))
    @HOW
    def check(given_tasks: list[dict[str, object]], order: random.Random) -> None:
        source = boss.post("/projects", {"name": "Source"}).json()
        copy = boss.post("/projects", {"name": "Copy"}).json()["key"]
        for number, task in enumerate(given_tasks):
            body = {"project_id": source["id"], "external_ref": f"-{number}", **task}
            assert boss.post("/tasks", body).status_code == 201, body
        exported = export(boss, source["key"])

        assert load(boss, copy, exported, "?keep_numbers=true").status_code == 200
        copied = export(boss, copy)
        assert values(copied) == values(exported)
        assert numbers_of(copied) == numbers_of(exported)
        r = load(boss, source["key"], exported, "?on_existing=update")
        assert (r.json()["unchanged"], r.json()["left_out"]) == (len(given_tasks), []), r.content
        assert export(boss, source["key"]) == exported

    check()


@pytest.fixture
def tree(fixtures):
    """A project with subtasks and blockers, whose parents come after their subtasks."""
    with inside(fixtures.acme):
        project = create_project(fixtures.boss, name="Tree", key="TREE")
        low, middle, top = (
            create_task(fixtures.boss, project, title=name) for name in ("low", "middle", "top")
        )
        update_task(fixtures.boss, low, parent=middle, blocked_by=[top, fixtures.task])
        update_task(fixtures.boss, middle, parent=top)
    return project


@pytest.mark.parametrize("seed", range(4))
def test_subtasks_and_blockers_come_back_in_any_order_of_the_lines(fixtures, as_, tree, seed):
    boss = as_(fixtures.boss)
    header, *lines = export(boss, "TREE").decode().splitlines()
    random.Random(seed).shuffle(lines)
    boss.post("/projects", {"name": "Copy", "key": "COPY"})

    r = load(boss, "COPY", "\n".join([header, *lines]))

    assert r.status_code == 200, r.content
    with inside(fixtures.acme):
        copied = {task.title: task for task in Task.objects.filter(project__key="COPY")}
        assert copied["low"].parent == copied["middle"]
        assert copied["middle"].parent == copied["top"]
        assert {task.key for task in copied["low"].blocked_by.all()} == {
            copied["top"].key,
            "APO-1",
        }


def test_edited_line_changes_its_task_and_nothing_else(fixtures, as_, events, tree):
    boss = as_(fixtures.boss)
    exported = export(boss, "TREE")
    before = len(events(fixtures.acme))

    r = load(boss, "TREE", exported.replace(b"middle", b"center"), "?on_existing=update")

    assert (r.json()["updated"], r.json()["unchanged"], r.json()["created"]) == (1, 2, 0)
    (event,) = events(fixtures.acme)[before:]
    assert event.changes == {"title": ["middle", "center"]}


def test_member_can_export_edit_and_import_without_rights_to_the_history(fixtures, as_):
    bob = as_(fixtures.bob)
    exported = export(bob, "APO")

    r = load(bob, "APO", exported.replace(b"Launch", b"Land"), "?on_existing=update")

    assert (r.status_code, r.json()["updated"], r.json()["left_out"]) == (200, 1, [])


def test_emptied_cells_empty_their_fields(fixtures, as_):
    with inside(fixtures.acme):
        create_task(
            fixtures.ada, fixtures.apollo, title="full", description="d", tags=["a"],
            assignee=fixtures.bob.user, parent=fixtures.task, blocked_by=[fixtures.task],
            due_on="2026-12-01", external_ref="r", metadata={"a": 1},
            links=[{"url": "https://a.example", "title": "A"}],
        )  # fmt: skip
    text = "key,description,tags,assignee,parent,blocked_by,due_on,external_ref,links,metadata\n"

    r = load(as_(fixtures.bob), "APO", text + "APO-2,,,,,,,,,\n", "?on_existing=update")

    assert r.status_code == 200, r.content
    task = as_(fixtures.bob).get("/tasks/APO-2").json()
    emptied = (
        "description",
        "tags",
        "assignee",
        "parent_id",
        "blocked_by",
        "due_on",
        "external_ref",
        "links",
        "metadata",
    )
    assert [task[name] for name in emptied] == ["", [], None, None, [], None, None, [], {}]
    r = load(as_(fixtures.bob), "APO", "key,status,title\nAPO-2,,\n", "?on_existing=update")
    assert {e["column"] for e in r.json()["errors"]} == {"status", "title"}


def test_blocker_that_the_actor_cannot_see_stays(fixtures, as_):
    with inside(fixtures.acme):
        hidden = create_task(
            fixtures.boss, create_project(fixtures.boss, name="Hidden", key="HID"), title="h"
        )
        update_task(fixtures.boss, fixtures.task, blocked_by=[hidden])
    bob = as_(fixtures.bob)
    exported = export(bob, "APO")
    assert read(exported)[0]["blocked_by"] == str(hidden.pk), "its key is not shown"
    assert load(bob, "APO", "title\nnew\n").status_code == 200

    edited = exported.replace(f",{hidden.pk},".encode(), f",{hidden.pk}; APO-2,".encode())
    r = load(bob, "APO", edited, "?on_existing=update")

    assert r.json()["updated"] == 1, r.content
    r = load(bob, "APO", f"title,blocked_by\nx,{hidden.pk}\n")
    assert [e["column"] for e in r.json()["errors"]] == ["blocked_by"]


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "windows-1252"])
@pytest.mark.parametrize("delimiter", ["comma", "semicolon", "tab"])
def test_every_exported_format_can_be_imported(fixtures, as_, charset, delimiter):
    ada = as_(fixtures.ada)
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="Ärger; „x“, €\tund", tags=["a;b", "c,d"])
    query = f"?charset={charset}&delimiter={delimiter}&bom=true"
    r = ada.get(f"/projects/APO/tasks.csv{query}")
    assert r.headers["Content-Type"] == f"text/csv; charset={charset}"

    loaded = load(
        ada, "APO", r.content, "?on_existing=update", content_type=r.headers["Content-Type"]
    )

    assert (loaded.status_code, loaded.json()["unchanged"]) == (200, 2), loaded.content
    assert r.content.startswith(b"\xef\xbb\xbf") == (charset == "utf-8")


def test_text_that_the_charset_does_not_have_is_refused(fixtures, as_):
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="🚀")

    r = as_(fixtures.ada).get("/projects/APO/tasks.csv?charset=windows-1252")

    assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, "charset")
