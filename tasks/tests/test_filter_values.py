"""Values of filters: stored values select their rows, and an empty value is refused."""

from __future__ import annotations

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from accounts.schemas.events import EventFilters
from accounts.schemas.users import UserFilters
from conftest import PROOF
from taskflow.http.filtering import EXCLUSION_SUFFIX, MAX_FILTER_VALUES, MAX_VALUES_PER_FILTER
from taskflow.http.paging import NO_FILTERS
from taskflow.tenancy import inside
from taskflow.tests.contract import api_document
from tasks.changes.tasks import create_task, delete_task
from tasks.schemas.claims import ClaimFilters
from tasks.schemas.comments import CommentFilters
from tasks.schemas.feed import EventFeedParams
from tasks.schemas.notifications import NotificationFilters
from tasks.schemas.pages import PageFilters
from tasks.schemas.projects import ProjectFilters
from tasks.schemas.search import SearchFilters
from tasks.schemas.tags import TagFilters
from tasks.schemas.task_counts import TaskCountFilters
from tasks.schemas.task_filters import TaskFilters, TaskWhere
from tasks.schemas.trash import TrashFilters
from tasks.schemas.webhooks import DeliveryFilters

pytestmark = pytest.mark.one_database

HOW = settings(
    phases=[Phase.explicit, Phase.generate] + [Phase.shrink] * PROOF,
    max_examples=300 if PROOF else 6,
    deadline=None,
    database=None,
    derandomize=not PROOF,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
OPERATORS = ["-", "--", "-x", "x", "none", "-none", "me", "@ada", "@x", '"', '"x"', "%", "_", "\\", "x*", "null", "true", "[]", "ÄÖ-ß", "-Σας", "İ", "½", "🚀", "a,b", "a;b", "a b"]  # fmt: skip
character = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
value = st.sampled_from(OPERATORS) | st.text(character, min_size=1, max_size=10)
values = st.lists(value, min_size=2, max_size=4)
LISTS = {
    "/tasks": TaskFilters,
    "/tasks/counts": TaskCountFilters,
    "/projects/APO/tasks.csv": TaskWhere,
    "/projects": ProjectFilters,
    "/pages": PageFilters,
    "/comments": CommentFilters,
    "/search": SearchFilters,
    "/trash": TrashFilters,
    "/users": UserFilters,
    "/tags": TagFilters,
    "/tasks/APO-1/events": EventFilters,
    "/projects/APO/events": EventFilters,
    "/events": EventFeedParams,
    "/claims": ClaimFilters,
    "/webhooks/1/deliveries": DeliveryFilters,
    "/notifications": NotificationFilters,
}
EXISTING = {"task_id": "APO-1", "project_id": "APO", "webhook_id": "1"}
FILTERS = [
    (path, name)
    for path, filters in LISTS.items()
    for name in filters.model_fields
    if name not in NO_FILTERS
]
MULTIPLE = [
    (path, name)
    for path, name in FILTERS
    if name + EXCLUSION_SUFFIX in LISTS[path].model_fields
    and name not in ("q", "metadata")  # tested in test_search_values.py, test_metadata_filter.py
]


def test_every_list_with_filters_is_tested():
    found = set()
    for path, methods in api_document()["paths"].items():
        query = {
            p["name"] for p in methods.get("get", {}).get("parameters", ()) if p["in"] == "query"
        }
        if query - NO_FILTERS:
            found.add(path.removeprefix("/api/v1").format(**EXISTING))

    assert found == LISTS.keys()


def bulk(client, where, **query):
    body = {"operations": [{"op": "delete", "where": where}]}
    return client.post("/tasks/bulk?dry_run=true", body)


def selected(client, filters):
    """The ids that a list shows, and that a bulk request would change."""
    ((listed, changed),) = selected_by_each(client, [filters])
    return listed, changed


def selected_by_each(client, wheres):
    """As selected(), for several sets of filters, in few requests."""
    operations = [{"op": "tag", "where": w, "data": {"tags": ["new"]}} for w in wheres]
    changed = {n: [] for n in range(len(wheres))}
    for start in range(0, len(wheres), 20):
        body = {"operations": operations[start : start + 20]}
        r = client.post("/tasks/bulk?dry_run=true", body)
        assert r.status_code == 200, r.content
        for result in r.json()["results"]:
            changed[start + result["index"]].append(result["id"])
    listed = [client.get("/tasks", as_query(w) | {"limit": 200}).json()["data"] for w in wheres]
    return [
        (sorted(task["id"] for task in tasks), sorted(changed[n])) for n, tasks in enumerate(listed)
    ]


def as_query(where):
    """The filters of a body as those of a URL."""
    return {name: str(v).lower() if isinstance(v, bool) else v for name, v in where.items()}


def create_each(client, project, bodies):
    """One task for each body, as stored; without those that the API refuses."""
    made = [client.post("/tasks", {"project_id": project.pk, "title": "x"} | b) for b in bodies]
    return [r.json() for r in made if r.status_code == 201]


@pytest.mark.slow
@HOW
@example(OPERATORS)
@given(values)
@pytest.mark.proof
def test_filter_by_a_stored_value_selects_its_tasks_and_not_selects_the_others(
    fixtures, as_, texts
):
    client = as_(fixtures.ada)
    with transaction.atomic():
        tasks = create_each(
            client, fixtures.apollo, [{"tags": [text], "external_ref": text} for text in texts]
        )
        stored = [(task["id"], task["tags"][0]["name"], task["external_ref"]) for task in tasks]
        stored.append((fixtures.task.pk, None, None))
        wheres, expected = [], []
        for column, name in ((1, "tag"), (2, "external_ref")):
            for value in {row[column] for row in stored if row[column] is not None}:
                wheres += [{name: [value]}, {f"{name}_not": [value]}]
                having = sorted(row[0] for row in stored if row[column] == value)
                expected += [having, sorted({row[0] for row in stored} - set(having))]

        for where, ids, found in zip(
            wheres, expected, selected_by_each(client, wheres), strict=True
        ):
            assert found == (ids, ids), where
        transaction.set_rollback(True)


@pytest.mark.parametrize("where", [{}, None, [], ""])
def test_bulk_request_with_an_empty_where_is_refused(fixtures, as_, events, where):
    client = as_(fixtures.boss)
    before = len(events(fixtures.acme))

    r = bulk(client, where)

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/operations/0/where")
    assert len(events(fixtures.acme)) == before


def test_bulk_request_with_an_empty_filter_is_refused_with_its_pointer(fixtures, as_):
    empties = [None, "", " ", "\t", [], [""], [" "], [None], [[]], {}]
    wheres = [{"project": ["APO"], name: e} for name in TaskWhere.model_fields for e in empties]

    r = as_(fixtures.boss).post(
        "/tasks/bulk", {"operations": [{"op": "delete", "where": where} for where in wheres]}
    )

    found = {error["pointer"].removesuffix("/0") for error in r.json()["errors"]}
    names = [name for where in wheres for name in list(where)[-1:]]
    assert r.status_code == 422
    assert found == {f"#/operations/{n}/where/{name}" for n, name in enumerate(names)}


@pytest.mark.parametrize("name", ["tag_not", "tag_all_not"])
def test_where_that_excludes_an_unknown_tag_is_refused(fixtures, as_, events, name):
    """A misspelt name would exclude nothing, and the request would change too many tasks."""
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="t", tags=["wontfix"])
    client = as_(fixtures.boss)
    before = len(events(fixtures.acme))

    r = bulk(client, {"project": ["APO"], name: ["WontFix", "wontfxi"]})

    error = r.json()["errors"][0]
    assert (r.status_code, error["code"]) == (422, "unknown_reference")
    assert error["pointer"] == f"#/operations/0/where/{name}"
    assert "wontfxi" in error["detail"]
    assert len(events(fixtures.acme)) == before
    tried = bulk(client, {"project": ["APO"], name: ["WontFix"]}, dry_run="true").json()
    assert [row["task"] for row in tried["results"]] == [None]


def test_where_that_excludes_an_unknown_reference_is_refused(fixtures, as_, events):
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="t", external_ref="keep-1")
    with inside(fixtures.globex):
        create_task(fixtures.mallory, fixtures.secret, title="t", external_ref="theirs")
    client = as_(fixtures.boss)
    before = len(events(fixtures.acme))

    for unknown in ("kepe-1", "Keep-1", "theirs"):
        r = bulk(client, {"project": ["APO"], "external_ref_not": ["keep-1", unknown]})

        error = r.json()["errors"][0]
        assert (r.status_code, error["code"]) == (422, "unknown_reference")
        assert error["pointer"] == "#/operations/0/where/external_ref_not"
        assert unknown in error["detail"]
    assert len(events(fixtures.acme)) == before
    tried = bulk(client, {"project": ["APO"], "external_ref_not": ["keep-1"]}).json()
    assert [row["id"] for row in tried["results"]] == [fixtures.task.pk]


@pytest.mark.parametrize(("path", "name"), FILTERS)
def test_list_with_an_empty_filter_is_refused(fixtures, as_, path, name):
    client = as_(fixtures.boss)
    needed = {"q": "x"} if path == "/search" and name != "q" else {}

    for empty in ("", " ", ["", ""], *([["x", ""]] if (path, name) in MULTIPLE else [])):
        r = client.get(path, needed | {name: empty})
        assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, name), empty


@pytest.mark.parametrize(("path", "name"), MULTIPLE)
def test_filter_of_more_than_100_values_is_refused(fixtures, as_, path, name):
    client = as_(fixtures.boss)
    needed = {"q": "x"} if path == "/search" else {}

    for filter_name in (name, name + EXCLUSION_SUFFIX):
        r = client.get(path, needed | {filter_name: ["x"] * (MAX_VALUES_PER_FILTER + 1)})
        errors = [(e["parameter"], e["code"]) for e in r.json()["errors"]]
        assert (r.status_code, (filter_name, "too_long") in errors) == (422, True)


def test_filters_of_more_than_200_values_together_are_refused(fixtures, as_):
    client = as_(fixtures.boss)
    names = [str(n) for n in range(MAX_VALUES_PER_FILTER)]
    most = {"tag": names, "external_ref": names}

    assert client.get("/tasks", most).status_code == bulk(client, most).status_code == 200
    for more in (most | {"status": ["todo"]}, most | {"external_ref_not": ["x"]}):
        r = client.get("/tasks", more)
        assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, "tag")
        r = bulk(client, more)
        assert (r.status_code, r.json()["errors"][0]["pointer"]) == (
            422,
            "#/operations/0/where/tag",
        )
    assert 2 * MAX_VALUES_PER_FILTER == MAX_FILTER_VALUES


@pytest.mark.parametrize(
    ("filters", "having", "others"),
    [
        ({"tag_none": True}, "x", "t"),
        ({"parent_none": True}, "xt", "c"),
        ({"blocked_by_none": True}, "xtc", "b"),
        ({"external_ref_none": True}, "xtb", "c"),
    ],
)
def test_filter_none_selects_rows_without_and_false_those_with(
    fixtures, as_, filters, having, others
):
    with inside(fixtures.acme):
        gone = create_task(fixtures.ada, fixtures.apollo, title="gone")
        t = create_task(fixtures.ada, fixtures.apollo, title="t", tags=["none"], blocked_by=[gone])
        c = create_task(
            fixtures.ada, fixtures.apollo, title="c", tags=["a"], parent=t, external_ref="r"
        )
        b = create_task(fixtures.ada, fixtures.apollo, title="b", tags=["a", "b"], blocked_by=[c])
        delete_task(fixtures.ada, gone)
    if "tag_none" in filters:
        others = "tcb"
    elif "parent_none" in filters:
        having = "xtb"
    titles = {"x": fixtures.task.pk, "t": t.pk, "c": c.pk, "b": b.pk}
    client = as_(fixtures.ada)
    (name,) = filters

    for is_none, expected in ((True, having), (False, others)):
        ids = sorted(titles[letter] for letter in expected)
        assert selected(client, {name: is_none}) == (ids, ids)


def test_undo_with_an_empty_selector_is_refused(fixtures, as_, events):
    client = as_(fixtures.boss)
    before = len(events(fixtures.acme))
    since = {"actor": "@ada", "since": "2020-01-01T00:00:00Z"}

    for name, base in (
        ("event_ids", {}),
        ("request_id", {}),
        ("actor", {"since": since["since"]}),
        ("since", {"actor": "@ada"}),
        ("until", since),
        ("project", since),
    ):
        for empty in (None, "", " ", [], {}, [None]):
            r = client.post("/undo", base | {name: empty})
            pointers = [error["pointer"].removesuffix("/0") for error in r.json()["errors"]]
            assert (r.status_code, pointers) == (422, [f"#/{name}"]), (name, empty)
    assert client.post("/undo", {}).status_code == 422
    assert len(events(fixtures.acme)) == before
