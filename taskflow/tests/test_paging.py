"""Keyset pagination: every row once, in every order, also when rows change between pages."""

from __future__ import annotations

import base64
import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext

from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag
from tasks.changes.create import CreateTask, create_tasks
from tasks.changes.tasks import create_task, delete_task, update_task
from tasks.models import Project, Task
from tasks.queries.filters import PROJECT_SORTS, TASK_SORTS

ORDERS = [f"{sign}{name}" for name in TASK_SORTS for sign in ("", "-")]
ORDERS += [
    "-priority,due_date",
    "due_on,-title",
    "priority,-due_on,created_at",
    "-due_date,-number",
]
MANY = 61


@pytest.fixture
def many(fixtures):
    """Sixty more tasks, with ties in every sortable column and with nulls."""
    chance = random.Random(7)
    drafts = []
    with inside(fixtures.acme):
        for number in range(MANY - 1):
            day = f"2026-01-0{1 + number % 5}"
            due = [{}, {"due_on": day}, {"due_date": f"{day}T00:00:00.{1 + number % 3}Z"}]
            title = f"{'tTüäÄ日_ '[number % 8]}{number % 7}"
            priority = {"priority": chance.choice(["low", "medium", "high"])}
            drafts.append(CreateTask(fixtures.apollo, title, priority | chance.choice(due)))
        create_tasks(fixtures.ada, drafts)
        then = datetime(2026, 1, 1, tzinfo=UTC)
        for rest in range(3):
            tied = {"created_at": then + timedelta(hours=rest), "updated_at": then}
            Task.objects.annotate(rest=F("pk") % 3).filter(rest=rest).update(**tied)
    return fixtures


def walk(client, path, between=lambda page: None):
    """Return the ids of all pages. `between` is called after each page."""
    seen, cursor = [], ""
    while cursor is not None:
        page = client.get(f"{path}{cursor}").json()
        seen += [row["id"] for row in page["data"]]
        assert page["has_more"] == (page["next_cursor"] is not None)
        between(page)
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    return seen


def ids_of(client, path):
    return [row["id"] for row in client.get(path).json()["data"]]


# ---- all pages ------------------------------------------------------------------------------------


@pytest.mark.sampled(2)
@pytest.mark.parametrize("order", ["", *ORDERS])
@pytest.mark.slow
def test_paging_returns_every_row_once_in_order(many, as_, order):
    client, sort = as_(many.ada), f"&sort={order}" if order else ""

    seen = walk(client, f"/tasks?limit=7{sort}")

    assert seen == ids_of(client, f"/tasks?limit=200{sort}")
    assert len(set(seen)) == len(seen) == MANY


def test_order_puts_nulls_last_and_breaks_ties_by_id_in_its_own_direction(many, as_):
    client = as_(many.ada)

    for order in ("due_on", "-due_on", "due_date", "-due_date"):
        name, descends = order.removeprefix("-"), order.startswith("-")
        rows = client.get(f"/tasks?limit=200&sort={order}").json()["data"]
        known = sorted((r for r in rows if r[name]), key=lambda r: (r[name], r["id"]))
        empty = sorted((r for r in rows if not r[name]), key=lambda r: r["id"])
        if descends:
            known.reverse()
            empty.reverse()
        assert rows == known + empty


@pytest.mark.parametrize("order", [*PROJECT_SORTS, *(f"-{name}" for name in PROJECT_SORTS)])
def test_paging_projects_returns_every_row_once_in_order(fixtures, as_, order):
    with inside(fixtures.acme):
        for number in range(12):
            create_project(
                fixtures.ada, name=f"{'aAé'[number % 3]}", key=f"K{'ABCDEFGHIJKL'[number]}"
            )
        Project.objects.update(updated_at=datetime(2026, 1, 1, tzinfo=UTC))
    client = as_(fixtures.ada)

    seen = walk(client, f"/projects?limit=3&sort={order}")

    assert seen == ids_of(client, f"/projects?limit=200&sort={order}")
    assert len(set(seen)) == len(seen) == 13


@pytest.mark.parametrize("path", ["/tags", "/users", "/tokens", "/projects/APO/members"])
def test_paging_other_lists_returns_every_row_once_in_order(fixtures, as_, path):
    with inside(fixtures.acme):
        for number in range(5):
            create_tag(fixtures.ada, name=str(number))
    client, _ = as_(fixtures.boss), as_(fixtures.boss)

    seen = walk(client, f"{path}?limit=1")

    assert seen == ids_of(client, f"{path}?limit=200")
    assert len(set(seen)) == len(seen) > 1


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "order", ["-number", "number", "due_on", "-priority", "-title", "created_at"]
)
@pytest.mark.slow
def test_paging_during_writes_neither_skips_nor_repeats_rows(many, as_, order):
    client, chance, gone = as_(many.ada), random.Random(5), []
    there = set(ids_of(client, "/tasks?limit=200"))

    def write(page):
        with inside(many.acme):
            create_task(many.bob, many.apollo, title=chance.choice(["a", "z"]), due_on="2026-01-03")
            victim = chance.choice(page["data"])["id"]  # of a page that was read already
            delete_task(many.bob, Task.objects.select_related("project").get(pk=victim))
            rest = Task.objects.filter(pk__in=there).exclude(pk__in=gone).select_related("project")
            update_task(many.bob, chance.choice(list(rest)), description=str(chance.random()))
            gone.append(victim)

    seen = walk(client, f"/tasks?limit=9&sort={order}", write)

    assert len(set(seen)) == len(seen)
    assert set(seen) >= there


def test_cursor_stays_valid_when_its_row_is_deleted(many, as_):
    client = as_(many.ada)
    first = client.get("/tasks?limit=5").json()
    rest = ids_of(client, f"/tasks?limit=200&cursor={first['next_cursor']}")

    assert client.delete(f"/tasks/{first['data'][-1]['id']}").status_code == 204
    assert ids_of(client, f"/tasks?limit=200&cursor={first['next_cursor']}") == rest


def test_the_longest_title_fits_a_cursor(fixtures, as_):
    with inside(fixtures.acme):
        for text in ("🚀" * 500, "日" * 500, '"' * 500, "\x01" * 500, "\\" * 500, "x" * 500):
            create_task(fixtures.ada, fixtures.apollo, title=text)
    client = as_(fixtures.ada)

    for sort in ("title", "-title"):
        assert len(walk(client, f"/tasks?limit=1&sort={sort}")) == 7


# ---- limits -------------------------------------------------------------------------------------


def test_skip_and_limit_select_rows_and_count_is_of_all(many, as_):
    client = as_(many.ada)
    every = ids_of(client, "/tasks?limit=200")

    page = client.get("/tasks?skip=2&limit=3&include=count").json()

    assert [t["id"] for t in page["data"]] == every[2:5]
    assert (page["count"], page["has_more"]) == (MANY, True)
    following = client.get(f"/tasks?limit=3&skip=1&cursor={page['next_cursor']}").json()
    assert [t["id"] for t in following["data"]] == every[6:9]
    assert following["count"] is None


def test_count_on_every_page_is_of_all_matching_rows(many, as_):
    client = as_(many.ada)
    path = "/tasks?limit=2&include=count&priority=high"
    first = client.get(path).json()

    second = client.get(f"{path}&cursor={first['next_cursor']}").json()

    with inside(many.acme):
        assert first["count"] == second["count"] == Task.objects.filter(priority="high").count()


@pytest.mark.parametrize(
    ("query", "rows", "has_more"),
    [
        ("", 50, True),
        ("limit=1", 1, True),
        (f"limit={MANY - 1}", MANY - 1, True),
        (f"limit={MANY}", MANY, False),
        ("limit=200", MANY, False),
        (f"skip={MANY - 1}", 1, False),
        (f"skip={MANY}", 0, False),
        ("skip=10000", 0, False),
    ],
)
def test_page_has_a_next_cursor_only_if_rows_follow(many, as_, query, rows, has_more):
    page = as_(many.ada).get(f"/tasks?{query}").json()

    assert (len(page["data"]), page["has_more"]) == (rows, has_more)
    assert (page["next_cursor"] is not None) == has_more


@pytest.mark.parametrize("path", ["/tasks", "/projects", "/tags", "/users", "/tokens", "/projects/APO/members"])  # fmt: skip
@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("limit=1.5", "limit"),
        ("limit=", "limit"),
        ("limit=1&limit=2", "limit"),
        ("skip=-1", "skip"),
        ("skip=10001", "skip"),
        ("skip=99999999999999999999999", "skip"),
        ("include=everything", "include"),
        ("include=", "include"),
        ("cursor=" + "A" * 5001, "cursor"),
        ("page=2", "page"),
        ("offset=2", "offset"),
    ],
)
def test_invalid_paging_parameter_is_refused_by_name(fixtures, as_, path, query, parameter):
    r = as_(fixtures.ada).get(f"{path}?{query}")

    assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, parameter)


# ---- invalid cursors ------------------------------------------------------------------


def cursor_of(values):
    text = values if isinstance(values, bytes) else json.dumps(values).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


@pytest.mark.slow
def test_a_cursor_of_another_order_or_list_is_refused(many, as_):
    with inside(many.acme):
        create_project(many.ada, name="Second")
        create_tag(many.ada, name="a")
        create_tag(many.ada, name="b")
    client = as_(many.ada)
    paths = [f"/tasks?sort={order}&" for order in ORDERS] + ["/tasks?", "/projects?", "/tags?", "/users?", "/projects/APO/members?", "/projects?sort=created_at&"]  # fmt: skip
    cursors = {path: client.get(f"{path}limit=1").json()["next_cursor"] for path in paths}

    for path in ("/tasks?", "/tasks?sort=title&", "/projects?", "/tags?", "/projects/APO/members?"):
        for made_by, cursor in cursors.items():
            r = client.get(f"{path}cursor={cursor}")
            assert r.status_code == (200 if made_by == path else 400), (path, made_by)
            assert r.status_code == 200 or r.json()["code"] == "invalid_cursor"


FORGED = {
    "-id": [
        [],
        {},
        None,
        5,
        "x",
        ["task:-id"],
        ["-id", 5],
        ["project:-id", 5],
        ["task:-id", 5, 5],
        ["task:-id", None],
        ["task:-id", "x"],
        ["task:-id", ""],
        ["task:-id", True],
        ["task:-id", [5]],
        ["task:-id", {"a": 5}],
        ["task:-id", 10**30],
        ["task:-id", -(10**30)],
        ["task:-id", "9" * 1000],
        [["task:-id"], 5],
        b"",
        b"[",
        b"[" * 3000,
        b'["task:-id",1e999]',
        b'["task:-id",NaN]',
        b'["task:-id",-Infinity]',
        b"\xff\xfe[1]",
        b"\x00",
        b'["task:-id","\\ud800"]',
    ],
    "title": [
        ["task:title_folded,id", None, 5],
        ["task:title_folded,id", "\0", 5],
        ["task:title_folded,id", "\ud800", 5],
        ["task:title_folded,id", "x", None],
        ["task:title_folded,id", ["x"], 5],
        ["task:title_folded,id", "x"],
    ],
    "due_date": [
        ["task:due_date,id", "x", 5],
        ["task:due_date,id", 5, 5],
        ["task:due_date,id", "2026-01-01", 5],
        ["task:due_date,id", "2026-01-01T00:00:00", 5],
        ["task:due_date,id", "2026-13-01T00:00:00Z", 5],
        ["task:due_date,id", "0001-01-01T00:00:00+14:00", 5],
        ["task:due_date,id", "9999-12-31T23:59:59-14:00", 5],
        ["task:due_date,id", None, None],
    ],
    "due_on": [
        ["task:due_on,id", "x", 5],
        ["task:due_on,id", 20260101, 5],
        ["task:due_on,id", "2026-02-30", 5],
    ],
    "-created_at": [["task:-created_at,id", None, 5]],
    "priority": [
        ["task:priority_rank,id", "x", 5],
        ["task:priority_rank,id", None, 5],
        ["task:priority_rank,id", 10**30, 5],
        ["task:priority_rank,id", [1], 5],
        ["task:priority_rank,id", 4, 5],
    ],
    # Adding 1 to it overflows in PostgreSQL.
    "priority,title": [["task:priority_rank,title_folded,id", 2**63 - 1, "x", 5]],
    "-priority,number": [["task:-priority_rank,number,id", 1 - 2**63, 1, 5]],
}


@pytest.mark.parametrize(
    ("order", "values"), [(order, values) for order, forged in FORGED.items() for values in forged]
)
def test_a_forged_cursor_is_refused(fixtures, as_, order, values):
    query = {"cursor": cursor_of(values)} | ({} if order == "-id" else {"sort": order})

    r = as_(fixtures.ada).get("/tasks", query)

    assert (r.status_code, r.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize(
    ("order", "values"),
    [
        ("-id", ["task:-id", 0]),
        ("-id", ["task:-id", -5]),
        ("-id", ["task:-id", 2**63 - 1]),
        ("number", ["task:number,id", 2**62, 5]),
        ("number", ["task:number,id", -(2**62), 5]),
        ("title", ["task:title_folded,id", "' OR 1=1 --", 5]),
        ("title", ["task:title_folded,id", "", 5]),
        ("due_on", ["task:due_on,id", None, 5]),
        ("due_on", ["task:due_on,id", "0001-01-01", 5]),
        ("due_on", ["task:due_on,id", "9999-12-31", 5]),
        ("due_date", ["task:due_date,id", "1970-01-01T00:00:00+00:00", 5]),
    ],
)
def test_forged_cursor_shows_only_visible_rows(fixtures, as_, order, values):
    query = {"cursor": cursor_of(values)} | ({} if order == "-id" else {"sort": order})

    r = as_(fixtures.ada).get("/tasks", query)

    assert r.status_code == 200, r.json()
    assert [t["id"] for t in r.json()["data"]] in ([], [fixtures.task.pk])


@pytest.mark.parametrize("text", ["x", "é", "====", "a b", "A+/=", "..", "%", "\n", "null", "🚀"])
def test_text_that_is_no_cursor_is_refused(fixtures, as_, text):
    r = as_(fixtures.ada).get("/tasks", {"cursor": text})

    assert (r.status_code, r.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.slow
def test_altered_cursor_never_causes_a_server_error(many, as_):
    client, chance = as_(many.ada), random.Random(1)
    sorts = {"": "", **{order: f"&sort={order}" for order in ORDERS}}
    good = {
        o: client.get(f"/tasks?limit=5{sort}").json()["next_cursor"] for o, sort in sorts.items()
    }

    for _ in range(150):
        order = chance.choice(list(good))
        text = bytearray(base64.urlsafe_b64decode(good[order] + "=="))
        for _ in range(chance.randint(1, 4)):
            text[chance.randrange(len(text))] = chance.choice(b'0129"[]{},:-ntf\\\x00\xc3 e.')
        cursor = chance.choice([cursor_of(bytes(text)), cursor_of(chance.randbytes(20))])
        r = client.get(f"/tasks?cursor={cursor}{sorts[order]}")
        assert r.status_code in (200, 400), (order, text, r.json())


@pytest.mark.parametrize(
    ("sort", "last"), [("", "DESC LIMIT 51"), ("&sort=-due_date", "DESC NULLS LAST")]
)
def test_statement_orders_nulls_only_in_nullable_columns(many, as_, sort, last):
    """No index serves `ORDER BY id DESC NULLS LAST`, although no id is null."""
    with CaptureQueriesContext(connection) as captured:
        as_(many.ada).get(f"/tasks?limit=50{sort}")

    (page,) = [q["sql"] for q in captured.captured_queries if "LIMIT 51" in q["sql"]]
    assert last in page


@pytest.mark.parametrize(
    ("path", "query", "others"),
    [
        ("/tasks", "priority=high", ["", "priority=low", "priority=high&status=todo"]),
        ("/tasks", "", ["priority=high"]),
        ("/projects", "status=active", ["", "status=archived"]),
        ("/trash", "kind=task", ["", "kind=page"]),
        ("/tasks/APO-1/events", "", []),
    ],
)
def test_cursor_is_refused_with_other_filters(fixtures, as_, path, query, others):
    client = as_(fixtures.ada)
    for n in range(3):
        new = {"project_id": fixtures.apollo.pk, "title": "x", "priority": "high"}
        task = client.post("/tasks", new).json()["id"]
        client.post("/projects", {"name": f"P{n}"})
        client.delete(f"/tasks/{task}") if n else None
        client.post("/tasks", new)
        client.patch("/tasks/APO-1", {"title": f"title {n}"})
    first = client.get(f"{path}?limit=1&{query}").json()
    cursor = first["next_cursor"]

    for other in others:
        r = client.get(f"{path}?limit=1&{other}&cursor={cursor}".replace("&&", "&"))
        assert (r.status_code, r.json()["code"]) == (400, "invalid_cursor"), other
    again = client.get(f"{path}?limit=2&include=count&{query}&cursor={cursor}".replace("&&", "&"))
    assert again.status_code == 200
    assert first["data"][0] not in again.json()["data"]


def test_cursor_of_the_events_of_a_task_is_refused_for_another_task(fixtures, as_):
    client = as_(fixtures.ada)
    client.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "x"})
    client.patch("/tasks/APO-1", {"title": "y"})
    cursor = client.get("/tasks/APO-1/events?limit=1").json()["next_cursor"]

    assert client.get(f"/tasks/APO-1/events?cursor={cursor}").status_code == 200
    assert client.get(f"/tasks/APO-2/events?cursor={cursor}").status_code == 400
