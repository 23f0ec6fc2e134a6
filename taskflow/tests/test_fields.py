"""`fields=id,key,title`: lists and single rows with some fields only."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from taskflow.http.fields import MAX_PARTIAL_VARIANTS, PARTIAL_MEDIA_TYPE, TEXT_MEDIA_TYPE
from taskflow.tests.contract import api_document
from tasks.api.row_queries import DETAIL_QUERIES, LIST_QUERIES
from tasks.models import Task

pytestmark = pytest.mark.one_database

PATHS = {
    "/tasks": "/tasks/APO-1",
    "/projects": "/projects/APO",
    "/comments": "/comments/{comment}",
    "/pages": "/pages/{page}",
}
SCHEMAS = {"/tasks": "Task", "/projects": "Project", "/comments": "Comment", "/pages": "Page"}


@pytest.fixture
def client(fixtures, as_):
    client = as_(fixtures.ada)
    body = {"tags": ["b", "a"], "metadata": {"ü": [1]}, "due_on": "2026-12-01"}
    client.patch("/tasks/APO-1", body)
    return client


@pytest.fixture
def ids(client):
    page = client.post("/pages", {"project": "APO", "title": "p", "body": "text"})
    comment = client.post("/comments", {"task": "APO-1", "body": "c"})
    return {"page": page.json()["id"], "comment": comment.json()["id"]}


def fields_of(path):
    schema = api_document()["components"]["schemas"][f"{SCHEMAS[path]}Response"]
    return [name for name in schema["properties"] if name in schema["required"]]


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.parametrize("path", PATHS)
def test_each_field_alone_has_the_value_of_the_complete_row(client, ids, path):
    row_path = PATHS[path].format(**ids)
    complete = client.get(row_path).json()

    for name in fields_of(path):
        one, page = client.get(f"{row_path}?fields={name}"), client.get(f"{path}?fields={name}")

        assert one.json() == {name: complete[name]}
        assert page.json()["data"] == [{name: complete[name]}]
        for r in (one, page):
            assert r.headers["Content-Type"] == f"{PARTIAL_MEDIA_TYPE}; charset=utf-8"


@pytest.mark.parametrize("path", PATHS)
def test_fields_are_in_the_order_of_the_complete_row(client, ids, path):
    r = client.get(f"{PATHS[path].format(**ids)}?fields=version,id")

    assert list(r.json()) == ["id", "version"]


@pytest.mark.parametrize("path", ["/tasks", "/tasks/APO-1"])
@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        (
            "id,titel",
            "There is no field “titel”. The fields are id, key, number, project_id, title,",
        ),
        ("ID", "There is no field “ID”."),
        ("id,,title", "There is no field “”."),
        ("comments", "There is no field “comments”."),
        ("title_words", "There is no field “title_words”."),
        ("id,id", "“fields” has a name twice. Send each name once."),
        ("x" * 501, "“fields”"),
        ("", "“fields”"),
    ],
)
def test_other_names_are_refused_with_those_that_are_known(client, path, fields, detail):
    r = client.get(f"{path}?fields={fields}")

    assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, "fields")
    assert r.json()["errors"][0]["detail"].startswith(detail)


def test_parameter_is_refused_when_it_is_repeated(client):
    for path in ("/tasks", "/tasks/APO-1"):
        r = client.get(f"{path}?fields=id&fields=key")
        assert (r.status_code, r.json()["errors"][0]["code"]) == (422, "repeated")


@pytest.mark.parametrize(
    "path", ["/tags", "/users", "/trash", "/tasks/APO-1/events", "/search?q=x"]
)
def test_other_lists_refuse_the_parameter(client, path):
    r = client.get(f"{path}{'&' if '?' in path else '?'}fields=id")

    assert (r.status_code, r.json()["errors"][0]["code"]) == (422, "unknown_parameter")


@pytest.mark.parametrize("path", ["/tasks?fields=id,title", "/tasks/APO-1?fields=id,title"])
def test_database_reads_only_the_columns_of_the_fields(client, path):
    with CaptureQueriesContext(connection) as captured:
        client.get(path)

    texts = [query["sql"] for query in captured.captured_queries]
    (sql,) = [text for text in texts if '"title"' in text]
    for column in ("description", "metadata", "tasks_tag", "tasks_taskblocker", "full_name"):
        assert column not in sql


def test_list_with_fields_keeps_its_filters_order_and_cursor(client):
    for n in range(3):
        client.post("/tasks", {"project": "APO", "title": f"t{n}", "priority": "high"})
    query = "/tasks?priority=high&sort=title&limit=2&include=count"

    first = client.get(f"{query}&fields=title").json()
    rest = client.get(f"{query}&fields=id,title&cursor={first['next_cursor']}").json()

    assert first["data"] == [{"title": "t0"}, {"title": "t1"}]
    assert (first["count"], first["has_more"]) == (3, True)
    assert [task["title"] for task in rest["data"]] == ["t2"]


def test_fields_and_comments_are_combined(client, ids):
    r = client.get("/tasks/APO-1?fields=key&include=comments")

    assert list(r.json()) == ["key", "comments"]
    assert [comment["id"] for comment in r.json()["comments"]["data"]] == [ids["comment"]]


def test_etag_depends_on_the_fields_and_is_a_version_of_the_row(client):
    path = "/tasks/APO-1?fields=title"
    etag = client.get(path).headers["ETag"]

    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
    for other in ("/tasks/APO-1", "/tasks/APO-1?fields=id,title"):
        assert client.get(other, headers={"If-None-Match": etag}).status_code == 200
    changed = client.patch("/tasks/APO-1", {"title": "New"}, headers={"If-Match": etag})
    assert changed.status_code == 200
    assert client.get(path, headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize("who", ["eve", "mallory"])
def test_invisible_rows_stay_invisible(fixtures, as_, who):
    client = as_(getattr(fixtures, who))

    assert client.get("/tasks/APO-1?fields=id").status_code == 404
    ids = [task["id"] for task in client.get("/tasks?fields=id").json()["data"]]
    assert fixtures.task.pk not in ids


def test_former_key_finds_the_row(client):
    client.patch("/projects/APO", {"key": "NEW"})

    assert client.get("/tasks/APO-1?fields=key").json() == {"key": "NEW-1"}
    assert client.get("/projects/APO?fields=key").json() == {"key": "NEW"}


def test_order_of_the_names_makes_no_new_query(client):
    client.get("/tasks?fields=id,key,title")
    queries = LIST_QUERIES[Task].partial_queries.queries
    before = queries.cache_info().misses

    client.get("/tasks?fields=title,id,key")

    assert queries.cache_info().misses == before


@pytest.mark.slow
def test_compiled_queries_are_bounded_and_displace_no_others(client):
    client.get("/tasks")
    client.get("/tasks/APO-1")
    whole = [LIST_QUERIES[Task].page_queries, DETAIL_QUERIES[Task].details]
    sizes = [cache.queries.cache_info().currsize for cache in whole]

    for number in range(1, 128):
        names = [n for bit, n in enumerate(fields_of("/tasks")[:7]) if number >> bit & 1]
        assert client.get(f"/tasks/APO-1?fields={','.join(names)}").status_code == 200

    partial = DETAIL_QUERIES[Task].partial_details.queries.cache_info()
    assert partial.currsize <= partial.maxsize == MAX_PARTIAL_VARIANTS < 127
    assert [cache.queries.cache_info().currsize for cache in whole] == sizes


def test_complete_schema_stays_as_it_is():
    schemas = api_document()["components"]["schemas"]
    responses = api_document()["paths"]["/api/v1/tasks"]["get"]["responses"]["200"]["content"]

    assert list(responses) == ["application/json", PARTIAL_MEDIA_TYPE, TEXT_MEDIA_TYPE]
    assert "required" not in schemas["PartialTask"]
    assert schemas["PartialTask"]["properties"] == schemas["TaskResponse"]["properties"]
    assert schemas["PartialTaskList"]["required"] == schemas["TaskListResponse"]["required"]
