"""Bodies name projects, users and tasks by id, key, handle and `me`."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.tests.factories import ProjectFactory, TaskFactory

pytestmark = pytest.mark.one_database


@pytest.fixture
def blocker(fixtures):
    with inside(fixtures.acme):
        return TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title="Blocker")


def pointers(response):
    return [error["pointer"] for error in response.json()["errors"]]


def test_task_created_with_keys_and_handles_gets_these_rows(fixtures, as_, blocker):
    body = {
        "title": "x",
        "project": "apo",
        "assignee": "me",
        "parent": "APO-1",
        "blocked_by": ["APO-2"],
    }

    task = as_(fixtures.ada).post("/tasks", body).json()

    assert task["project_id"] == fixtures.apollo.pk
    assert task["assignee"]["handle"] == "ada"
    assert task["parent_id"] == fixtures.task.pk
    assert task["blocked_by"] == [blocker.pk]


def test_task_created_with_ids_in_the_same_fields_gets_these_rows(fixtures, as_, blocker):
    body = {
        "title": "x",
        "project": fixtures.apollo.pk,
        "assignee": fixtures.bob.user.pk,
        "parent": str(fixtures.task.pk),
        "blocked_by": [blocker.pk, "APO-2"],
    }

    task = as_(fixtures.ada).post("/tasks", body).json()

    assert (task["assignee"]["handle"], task["blocked_by"]) == ("bob", [blocker.pk])


@pytest.mark.parametrize("assignee", ["@bob", "@BOB"])
def test_handle_assigns_the_user_and_null_nobody(fixtures, as_, assignee):
    client = as_(fixtures.ada)

    assert (
        client.patch("/tasks/APO-1", {"assignee": assignee}).json()["assignee"]["handle"] == "bob"
    )
    assert client.patch("/tasks/APO-1", {"assignee": None}).json()["assignee"] is None
    path = "/tasks/APO-1/assignment"
    assert client.post(path, {"assignee": assignee}).json()["assignee"]["handle"] == "bob"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("project", "SEC"),
        ("project", "x"),
        ("assignee", "@mallory"),
        ("assignee", "ada"),
        ("assignee", "none"),
        ("parent", "SEC-1"),
        ("parent", "APO-99"),
    ],
)
def test_unknown_or_invisible_reference_is_refused_by_its_field(fixtures, as_, field, value):
    body = {"title": "x", "project": "APO"} | {field: value}

    r = as_(fixtures.ada).post("/tasks", body)

    assert (r.status_code, pointers(r)) == (422, [f"#/{field}"])
    assert r.json()["errors"][0]["code"] == "unknown_reference"


@pytest.mark.parametrize("value", ["", " ", "x" * 61, 0, -1, 2**63, True, 1.5, [1], {}])
def test_reference_that_is_no_id_or_text_is_one_error(fixtures, as_, value):
    r = as_(fixtures.ada).post("/tasks", {"title": "x", "project": value})

    assert (r.status_code, len(r.json().get("errors", [1]))) in [(422, 1), (400, 1)]


@pytest.mark.parametrize(
    "body",
    [
        {"project": "APO", "project_id": 1},
        {"project": "APO", "assignee": "me", "assignee_id": None},
    ],
)
def test_row_that_is_named_twice_is_refused(fixtures, as_, body):
    r = as_(fixtures.ada).post("/tasks", {"title": "x"} | body)

    assert r.status_code == 422
    assert "not both" in r.json()["detail"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/tasks", "project"),
        ("/pages", "project"),
        ("/comments", "task"),
        ("/projects/APO/members", "user"),
        ("/tasks/APO-1/move", "project"),
        ("/tasks/APO-1/assignment", "assignee"),
    ],
)
def test_missing_reference_is_reported_with_the_other_errors(fixtures, as_, path, name):
    r = as_(fixtures.ada).post(path, {"unknown": 1})

    assert {f"#/{name}", "#/unknown"} <= set(pointers(r))


def test_members_comments_pages_and_moves_take_keys_and_handles(fixtures, as_):
    client = as_(fixtures.ada)
    with inside(fixtures.acme):
        ProjectFactory(actor=fixtures.ada, name="Gemini", key="GEM")

    member = client.post("/projects/APO/members", {"user": "@eve", "role": "admin"})
    comment = client.post("/comments", {"task": "APO-1", "body": "x"})
    page = client.post("/pages", {"project": "APO", "title": "x", "owner": "@bob"})
    project = client.patch("/projects/APO", {"owner": "@carl"})
    moved = client.post("/tasks/APO-1/move", {"project": "GEM"})

    assert (member.json()["user"]["handle"], member.json()["role"]) == ("eve", "admin")
    assert comment.json()["task_key"] == "APO-1"
    assert page.json()["owner"]["handle"] == "bob"
    assert project.json()["owner"]["handle"] == "carl"
    assert moved.json()["key"] == "GEM-1"


def test_bulk_operations_take_keys_and_handles(fixtures, as_):
    operations = [
        {"op": "create", "data": {"project": "APO", "title": "x", "assignee": "@bob"}},
        {"op": "assign", "id": "APO-1", "data": {"assignee": "me"}},
        {"op": "update", "id": "APO-1", "data": {"assignee": None}},
    ]

    r = as_(fixtures.ada).post("/tasks/bulk", {"operations": operations})

    assert r.status_code == 200, r.json()
    tasks = [result["task"] for result in r.json()["results"]]
    assert tasks[0]["assignee"]["handle"] == "bob"
    assert tasks[2]["assignee"] is None


def test_number_of_queries_does_not_depend_on_the_number_of_references(
    fixtures, as_, django_assert_max_num_queries
):
    with inside(fixtures.acme):
        for n in range(5):
            TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title=str(n))
    client = as_(fixtures.ada)

    def count(keys: list[str]) -> int:
        with django_assert_max_num_queries(99) as captured:
            r = client.post("/tasks", {"project": "APO", "title": "x", "blocked_by": keys})
            assert r.status_code == 201
        return len(captured)

    count(["APO-2"])  # compiles the queries
    assert count(["APO-2"]) == count(["APO-2", "APO-3", "APO-4", "APO-5"])


def test_user_who_takes_over_is_given_by_handle(fixtures, as_):
    r = as_(fixtures.boss).post(
        f"/users/{fixtures.bob.user.pk}/offboarding", {"hand_over_to": "@carl"}
    )

    assert r.status_code == 200


@pytest.mark.parametrize("ref", ["@bob", "@BOB", "{id}"])
@pytest.mark.slow
def test_path_names_a_user_by_handle_or_id(fixtures, as_, ref):
    client, path = as_(fixtures.boss), f"/users/{ref.format(id=fixtures.bob.user.pk)}"

    assert client.get(path).json()["handle"] == "bob"
    assert client.patch(path, {"full_name": "Bob B."}).json()["full_name"] == "Bob B."
    assert client.post(f"{path}/offboarding", {}).json()["user"]["handle"] == "bob"
    assert client.post(f"{path}/erasure").status_code == 200


def test_path_names_the_caller_as_me(fixtures, as_):
    assert as_(fixtures.bob).get("/users/me").json()["handle"] == "bob"


@pytest.mark.parametrize(
    "ref", ["@mallory", "@", "bob", "none", "0", "9" * 20, "@b%00b", "-1", "@%EF%BF%BD"]
)
def test_path_with_an_unknown_user_is_not_found(fixtures, as_, ref):
    client = as_(fixtures.boss)

    assert client.get(f"/users/{ref}").status_code == 404
    assert client.post(f"/users/{ref}/erasure").status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"parent": "APO-2"}, "#/parent"),
        ({"parent_id": "{}"}, "#/parent_id"),
        ({"assignee": "@eve"}, "#/assignee"),
        ({"assignee_id": "{eve}"}, "#/assignee_id"),
    ],
)
def test_refusal_points_to_the_name_that_was_sent(fixtures, as_, body, pointer):
    client = as_(fixtures.ada)
    other = client.post("/projects", {"name": "Other", "key": "OTH"}).json()
    foreign = client.post("/tasks", {"project": "OTH", "title": "x"}).json()
    client.post("/tasks", {"project": "APO", "title": "x"})
    values = {"APO-2": foreign["key"], "{}": foreign["id"], "{eve}": fixtures.eve.user.pk}
    body = {name: values.get(value, value) for name, value in body.items()}
    operation = {"op": "update", "id": "APO-1", "data": body}

    alone = client.patch("/tasks/APO-1", body)
    in_bulk = client.post("/tasks/bulk", {"operations": [operation]})

    assert (alone.status_code, alone.json()["errors"][0]["pointer"]) == (422, pointer)
    assert in_bulk.json()["errors"][0]["pointer"] == f"#/operations/0/data{pointer[1:]}"
    assert other["key"] == "OTH"


@pytest.mark.parametrize("path", ["/users/me", "/users/ME", "/users/%20@BOB", "/projects/%20apo%20", "/tasks/%20apo-1"])  # fmt: skip
def test_reference_in_a_path_is_read_as_in_a_filter(fixtures, as_, path):
    assert as_(fixtures.ada).get(path).status_code == 200


@pytest.mark.parametrize("path", ["/users/01", "/projects/01", "/tasks/01", "/members/01"])
def test_id_with_a_leading_zero_is_not_found(fixtures, as_, path):
    assert as_(fixtures.ada).get(path).status_code == 404


FORMS_OF_USERS = "Give an id, a handle as in @ada, or “me”."


@pytest.mark.parametrize(
    ("path", "body", "pointer", "sentence"),
    [
        (
            "/tasks",
            {"title": "x", "project_id": 987654},
            "project_id",
            "There is no project 987654.",
        ),
        (
            "/tasks",
            {"title": "x", "project": "APO", "parent": "a\u202eb"},
            "parent",
            "There is no task “a\\u202eb”. Give an id, or a key as in WEB-12.",
        ),
        (
            "/tokens",
            {"name": "x", "projects": ["APO", "SEC"]},
            "projects/1",
            "There is no project “SEC”. Give an id, or a key as in WEB.",
        ),
        ("/tokens", {"name": "x", "user_id": 987654}, "user_id", "There is no user 987654."),
        (
            "/users",
            {"kind": "agent", "responsible": "bob"},
            "responsible",
            f"There is no user “bob”. {FORMS_OF_USERS}",
        ),
        (
            "/users/@bot/offboarding",
            {"hand_over_to": "@mallory"},
            "hand_over_to",
            f"There is no user “@mallory”. {FORMS_OF_USERS}",
        ),
    ],
)
def test_refused_reference_of_a_body_is_repeated(fixtures, as_, path, body, pointer, sentence):
    r = as_(fixtures.boss).post(path, body)

    (error,) = r.json()["errors"]
    assert (error["pointer"], error["detail"]) == (f"#/{pointer}", sentence)
    assert r.json()["detail"] == sentence
