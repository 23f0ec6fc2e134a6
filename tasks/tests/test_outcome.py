"""The outcome of done tasks: cancelled work is not completed work."""

from __future__ import annotations

import pytest

from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.admin.tasks import TaskAdmin
from tasks.changes.tasks import create_task
from tasks.models import Project, TaskCountDelta
from tasks.tests.exports import documents_of, export, load, signed

pytestmark = pytest.mark.one_database

CANCELLED = {"outcome": "cancelled"}


def counts(client):
    return client.get("/projects/APO").json()["task_counts"]


def state(client, key="APO-1"):
    task = client.get(f"/tasks/{key}").json()
    return task["status"], task["outcome"], task["completed"]


def refusal(response):
    assert response.status_code == 422, response.content
    (error,) = response.json()["errors"]
    return error["pointer"], error["detail"]


@pytest.fixture
def client(fixtures, as_):
    return as_(fixtures.ada)


@pytest.fixture
def cancelled(client):
    """The task APO-1 is cancelled."""
    assert client.post("/tasks/APO-1/completion", CANCELLED).status_code == 200
    return client


# ---- completing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "outcome"),
    [(None, "completed"), ({}, "completed"), ({"outcome": "completed"}, "completed"), (CANCELLED, "cancelled")],
)  # fmt: skip
def test_completion_sets_the_outcome(client, body, outcome):
    r = client.post("/tasks/APO-1/completion", body)

    assert (r.status_code, r.json()["status"], r.json()["outcome"]) == (200, "done", outcome)
    assert state(client) == ("done", outcome, True)


@pytest.mark.parametrize("outcome", [None, "dropped", "", 1, ["cancelled"]])
def test_completion_with_an_unknown_outcome_is_refused(client, outcome):
    r = client.post("/tasks/APO-1/completion", {"outcome": outcome})

    assert refusal(r)[0] == "#/outcome"
    assert state(client) == ("todo", None, False)


def test_cancellation_is_recorded_with_its_own_verb(fixtures, cancelled, events):
    event = events(fixtures.acme, subject_type="task")[-1]

    assert (event.verb, event.changes["outcome"]) == ("cancelled", [None, "cancelled"])
    newest = cancelled.get("/tasks/APO-1/events").json()["data"][0]
    assert newest["verb"] == "task.cancelled"
    assert newest["sentence"].endswith(" cancelled the task")


def test_completing_a_cancelled_task_again_keeps_the_outcome(cancelled):
    before = cancelled.get("/tasks/APO-1").json()

    assert cancelled.post("/tasks/APO-1/completion").json() == before
    assert cancelled.post("/tasks/APO-1/completion", CANCELLED).json() == before


def test_completing_a_done_task_with_another_outcome_sets_it(fixtures, cancelled, events):
    r = cancelled.post("/tasks/APO-1/completion", {"outcome": "completed"})

    assert r.json()["outcome"] == "completed"
    event = events(fixtures.acme, subject_type="task")[-1]
    assert (event.verb, event.changes) == ("changed", {"outcome": ["cancelled", "completed"]})


def test_cancelling_with_open_subtasks_is_refused_unless_forced(client, fixtures):
    sent = {"project_id": fixtures.apollo.pk, "title": "sub", "parent_id": fixtures.task.pk}
    client.post("/tasks", sent)

    assert client.post("/tasks/APO-1/completion", CANCELLED).json()["code"] == "open_work"
    assert client.post("/tasks/APO-1/completion?force=true", CANCELLED).status_code == 200


def test_cancelled_blocker_and_subtask_are_no_open_work(client, fixtures):
    project = fixtures.apollo.pk
    for title in ("blocker", "subtask"):
        more = {"parent_id": fixtures.task.pk} if title == "subtask" else {}
        client.post("/tasks", {"project_id": project, "title": title} | more)
    client.patch("/tasks/APO-1", {"blocked_by": [client.get("/tasks/APO-2").json()["id"]]})
    assert client.get("/tasks/APO-1").json()["ready"] is False

    for key in ("APO-2", "APO-3"):
        client.post(f"/tasks/{key}/completion", CANCELLED)

    assert client.get("/tasks/APO-1").json()["ready"] is True
    assert client.post("/tasks/APO-1/completion").status_code == 200


def test_completing_a_project_completes_open_tasks_and_keeps_cancelled_ones(cancelled, fixtures):
    cancelled.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "open"})

    cancelled.post("/projects/APO/completion")

    assert state(cancelled) == ("done", "cancelled", True)
    assert state(cancelled, "APO-2") == ("done", "completed", True)


# ---- other ways of writing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "outcome"),
    [({"status": "done"}, "completed"), ({"status": "done"} | CANCELLED, "cancelled"),
     ({"status": "done", "title": "x"} | CANCELLED, "cancelled")],
)  # fmt: skip
def test_patch_to_done_sets_the_outcome(client, fixtures, events, body, outcome):
    r = client.patch("/tasks/APO-1", body)

    assert (r.json()["status"], r.json()["outcome"]) == ("done", outcome)
    assert events(fixtures.acme, subject_type="task")[-1].verb == outcome


def test_patch_of_the_outcome_of_a_done_task_sets_it(cancelled):
    assert (
        cancelled.patch("/tasks/APO-1", {"outcome": "completed"}).json()["outcome"] == "completed"
    )


@pytest.mark.parametrize("body", [CANCELLED, CANCELLED | {"status": "in_progress"}])
def test_outcome_of_an_open_task_is_refused(client, body):
    assert refusal(client.patch("/tasks/APO-1", body)) == (
        "#/outcome",
        "An open task has no outcome. Send the status done with it.",
    )


@pytest.mark.parametrize("body", [{"outcome": None}, {"outcome": None, "status": "done"}])
def test_done_task_without_an_outcome_is_refused(cancelled, body):
    assert refusal(cancelled.patch("/tasks/APO-1", body)) == (
        "#/outcome",
        "A done task has an outcome. Send completed or cancelled, or leave it out.",
    )


def test_null_is_the_outcome_of_an_open_task(client):
    before = client.get("/tasks/APO-1").json()

    assert client.patch("/tasks/APO-1", {"outcome": None}).json() == before


@pytest.mark.parametrize(
    "send",
    [
        lambda client: client.delete("/tasks/APO-1/completion"),
        lambda client: client.patch("/tasks/APO-1", {"status": "todo"}),
        lambda client: client.patch("/tasks/APO-1", {"status": "todo", "outcome": None}),
    ],
)
def test_reopening_removes_the_outcome(cancelled, send):
    assert send(cancelled).json()["outcome"] is None
    assert counts(cancelled) == {"todo": 1, "in_progress": 0, "done": 0, "cancelled": 0}


@pytest.mark.parametrize(("more", "outcome"), [({}, "completed"), (CANCELLED, "cancelled")])
def test_task_is_created_and_upserted_with_an_outcome(client, fixtures, more, outcome):
    done = {"title": "x", "status": "done"} | more

    created = client.post("/tasks", done | {"project_id": fixtures.apollo.pk})
    upserted = client.put("/projects/APO/tasks/by-ref/r1", done)
    again = client.put("/projects/APO/tasks/by-ref/r1", {"status": "done"} | more)

    assert [r.json()["outcome"] for r in (created, upserted, again)] == [outcome] * 3
    refused = client.post("/tasks", CANCELLED | {"project_id": fixtures.apollo.pk, "title": "x"})
    assert refusal(refused)[0] == "#/outcome"


def test_bulk_operations_set_the_outcome(client, fixtures):
    with inside(fixtures.acme):
        for n in range(3):
            create_task(fixtures.ada, fixtures.apollo, title=f"t{n}")
    operations = [
        {"op": "complete", "id": "APO-1", "data": CANCELLED},
        {"op": "complete", "id": "APO-2"},
        {"op": "update", "id": "APO-3", "data": {"status": "done"} | CANCELLED},
        {"op": "update", "id": "APO-4", "data": CANCELLED},
    ]

    r = client.post("/tasks/bulk", {"operations": operations, "on_error": "skip"})

    results = r.json()["results"]
    outcomes = [result["task"]["outcome"] for result in results[:3]]
    assert outcomes == ["cancelled", "completed", "cancelled"]
    assert results[3]["problem"]["errors"][0]["pointer"] == "#/operations/3/data/outcome"


def test_csv_with_the_outcome_of_an_open_task_is_refused_by_line(client):
    text = "title,status,outcome\na,done,cancelled\nb,todo,cancelled\n"

    r = client.generic("POST", "/projects/APO/tasks.csv", text, content_type="text/csv")

    (error,) = r.json()["errors"]
    assert (error["line"], error["column"]) == (3, "outcome")


# ---- reading ------------------------------------------------------------------------------------


def test_counts_of_done_and_cancelled_tasks_are_separate(cancelled, fixtures):
    project = fixtures.apollo.pk
    cancelled.post("/tasks", {"project_id": project, "title": "x", "status": "done"})
    assert counts(cancelled) == {"todo": 0, "in_progress": 0, "done": 1, "cancelled": 1}

    cancelled.patch("/tasks/APO-1", {"outcome": "completed"})
    assert counts(cancelled) == {"todo": 0, "in_progress": 0, "done": 2, "cancelled": 0}
    cancelled.patch("/tasks/APO-2", CANCELLED)
    cancelled.delete("/tasks/APO-1")

    assert counts(cancelled) == {"todo": 0, "in_progress": 0, "done": 0, "cancelled": 1}
    with inside(fixtures.acme):
        assert TaskCountDelta.find_wrong_counts(Project.everything.all()) == []


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("outcome=cancelled", ["APO-1"]),
        ("outcome=completed", ["APO-2"]),
        ("outcome=completed&outcome=cancelled", ["APO-2", "APO-1"]),
        ("outcome_not=cancelled", ["APO-3", "APO-2"]),
        ("status=done&outcome_not=cancelled", ["APO-2"]),
    ],
)
def test_filter_selects_tasks_by_outcome(cancelled, fixtures, query, keys):
    for status in ("done", "todo"):
        cancelled.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "x", "status": status})

    assert [row["key"] for row in cancelled.get(f"/tasks?{query}").json()["data"]] == keys


# ---- undo ---------------------------------------------------------------------------------------


def undo(client, request_id, **more):
    return client.post("/undo", {"request_id": request_id} | more)


def test_undo_of_a_cancellation_reopens_the_task_and_can_be_undone(client, fixtures, events):
    before = state(client)
    first = client.post("/tasks/APO-1/completion", CANCELLED).headers["X-Request-Id"]

    second = undo(client, first)
    assert state(client) == before
    undo(client, second.headers["X-Request-Id"])

    assert state(client) == ("done", "cancelled", True)
    verbs = [event.verb for event in events(fixtures.acme, subject_type="task")]
    assert verbs == ["created", "cancelled", "reopened", "changed"]


def test_undo_of_reopening_a_cancelled_task_is_recorded_as_cancelled(cancelled, fixtures, events):
    request_id = cancelled.delete("/tasks/APO-1/completion").headers["X-Request-Id"]

    undo(cancelled, request_id)

    assert state(cancelled) == ("done", "cancelled", True)
    assert events(fixtures.acme, subject_type="task")[-1].verb == "cancelled"


def test_undo_of_an_event_without_an_outcome_keeps_the_rule(client, fixtures, forget_outcomes):
    """Events from before tasks had outcomes."""
    completed = client.post("/tasks/APO-1/completion").headers["X-Request-Id"]
    reopened = client.delete("/tasks/APO-1/completion").headers["X-Request-Id"]
    forget_outcomes()

    assert undo(client, reopened).status_code == 200
    assert state(client) == ("done", "completed", True)
    assert undo(client, completed).status_code == 200

    assert state(client) == ("todo", None, False)


def test_undo_of_a_completion_whose_outcome_was_changed_is_refused_or_skipped(
    client, fixtures, as_
):
    request_id = client.post("/tasks/APO-1/completion").headers["X-Request-Id"]
    as_(fixtures.bob).patch("/tasks/APO-1", CANCELLED)

    refused = undo(client, request_id)
    skipped = undo(client, request_id, on_conflict="skip")

    assert (refused.status_code, refused.json()["code"]) == (409, "cannot_undo")
    assert skipped.status_code == 200, skipped.content
    assert state(client) == ("done", "cancelled", True)


@pytest.fixture
def forget_outcomes(fixtures):
    """Return a function that removes the outcomes from the events."""

    def forget():
        with inside(fixtures.acme):
            for event in Event.objects.filter(subject_type="task"):
                event.changes.pop("outcome", None)
                Event.objects.filter(pk=event.pk).update(changes=event.changes)

    return forget


# ---- files and the admin ------------------------------------------------------------------------


def test_import_of_a_file_without_outcomes_completes_done_tasks(client, fixtures):
    client.post("/tasks/APO-1/completion")
    client.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "open"})
    documents = documents_of(export(fixtures.acme))
    for document in documents:
        if document.get("model") == "tasks.task":
            del document["row"]["outcome"]

    tenant, _ = load(signed(documents), subdomain="older")

    with inside(tenant):
        project = Project.objects.get(key="APO")
        outcomes = list(project.tasks.order_by("number").values_list("status", "outcome"))
    assert outcomes == [("done", "completed"), ("todo", None)]


def test_admin_shows_cancelled_tasks_by_their_outcome(cancelled, fixtures):
    with inside(fixtures.acme):
        task = fixtures.apollo.tasks.get()

    assert TaskAdmin.show_status(None, task) == ("cancelled", "Cancelled")
