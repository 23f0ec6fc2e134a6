"""Transactions that PostgreSQL rolled back because of others are run again."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import DatabaseError, connection, connections, transaction
from django.test import Client

from conftest import PASSWORD, ApiClient, build_fixtures, token_of
from taskflow.audit.models import Event
from taskflow.http.contention import MAX_ATTEMPTS
from taskflow.tenancy import OWNER_ROLE, has_roles, inside
from tasks.actions.comments import create_comment
from tasks.actions.members import add_member
from tasks.actions.projects import create_project
from tasks.admin import tasks as task_admin
from tasks.api import tasks as task_api
from tasks.changes.tasks import create_task, delete_task, move_task
from tasks.models import Task
from tasks.queries import lookup
from tasks.scheduled import purging

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer"),
]
CONTENDED = ["40001", "40P01", "26000", "42P05"]


@pytest.fixture
def fixtures():
    return build_fixtures()


@pytest.fixture
def client(fixtures):
    client = ApiClient(token_of(fixtures.ada))
    client.get("/me")  # stores the last use of the token
    return client


def events_of(fixtures, **filters):
    with inside(fixtures.acme):
        return list(Event.objects.filter(subject_type="task", **filters).values_list("verb"))


def raise_in_database(sqlstate):
    with connection.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'test' USING ERRCODE = '{sqlstate}'; END $$")


@pytest.fixture
def fail(monkeypatch):
    """fail(sqlstate, times) makes the database fail `times` times before a function is called.

    The default is the function that builds the response, so that a task was changed and nothing is
    committed yet. The list that it returns gets one entry for each attempt.
    """

    def prepare(sqlstate, times, module=task_api, name="updated_response"):
        original = getattr(module, name)
        attempts = []

        def failing(*args, **kwargs):
            attempts.append(args)
            if len(attempts) <= times:
                raise_in_database(sqlstate)
            return original(*args, **kwargs)

        monkeypatch.setattr(module, name, failing)
        return attempts

    return prepare


@contextmanager
def failing_commits(sqlstate, times):
    """Let the first `times` COMMITs of transactions with an event fail.

    A sequence counts them, because a rollback does not take back its numbers.
    """
    with as_owner() as cursor:
        cursor.execute(f"""
            CREATE SEQUENCE failures;
            GRANT USAGE ON SEQUENCE failures TO PUBLIC;
            CREATE FUNCTION fail_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('failures') <= {times} THEN
                    RAISE EXCEPTION 'test' USING ERRCODE = '{sqlstate}';
                END IF;
                RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER fail_commit AFTER INSERT ON audit_event
                DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fail_commit()
        """)
    try:
        yield
    finally:
        with as_owner() as cursor:
            cursor.execute("DROP TRIGGER fail_commit ON audit_event")
            cursor.execute("DROP FUNCTION fail_commit; DROP SEQUENCE failures")


@contextmanager
def as_owner():
    with transaction.atomic(), connection.cursor() as cursor:
        if has_roles(connection):
            cursor.execute(f"SET LOCAL ROLE {OWNER_ROLE}")
        yield cursor


# ---- run again ----------------------------------------------------------------------------------


def test_request_that_loses_a_deadlock_succeeds_and_is_recorded_once(fixtures, client):
    """The request holds the first task and waits for the second. Then the test locks the first."""
    with inside(fixtures.acme):
        first, second = (create_task(fixtures.ada, fixtures.apollo, title=t).pk for t in "ab")
    body = {"operations": [{"op": "complete", "id": pk} for pk in (first, second)]}
    before = deadlocks()

    with ThreadPoolExecutor() as pool:
        with inside(fixtures.acme):
            Task.objects.select_for_update().get(pk=second)
            response = pool.submit(call_and_disconnect, client.post, "/tasks/bulk", body)
            wait_for_waiting_lock()
            Task.objects.select_for_update().get(pk=first)
        r = response.result()

    assert (r.status_code, r.json()["succeeded"]) == (200, 2)
    for pk in (first, second):
        assert events_of(fixtures, subject_id=pk) == [("created",), ("completed",)]
    assert deadlocks() == before + 1


def call_and_disconnect(call, *args):
    """Call the function in a thread of its own, and close the connections of that thread."""
    try:
        return call(*args)
    finally:
        connections.close_all()


def wait_for_waiting_lock():
    """Return as soon as a connection to the tests' database waits for a lock. Raise after 5 s.

    The server has a database for each pytest worker, and the locks of the others do not count.
    """
    for _ in range(500):
        with connection.cursor() as cursor:
            # Otherwise a transaction sees the connections of its first look only.
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE NOT granted AND datname = current_database()"
            )
            if cursor.fetchone()[0]:
                return
        time.sleep(0.01)
    raise AssertionError("no connection waits for a lock")


def deadlocks():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return cursor.fetchone()[0]


HEADERS = {
    "nothing": lambda etag: {},
    "a key": lambda etag: {"Idempotency-Key": "k"},
    "a version": lambda etag: {"If-Match": etag},
    "both": lambda etag: {"Idempotency-Key": "k", "If-Match": etag},
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("times", [1, MAX_ATTEMPTS - 1])
def test_contended_write_is_run_again_and_recorded_once(fixtures, client, fail, headers, times):
    etag = client.get("/tasks/APO-1").headers["ETag"]
    for number, sqlstate in enumerate(CONTENDED):
        attempts = fail(sqlstate, times)
        given = HEADERS[headers](etag)
        given = {name: value + str(number) * (value == "k") for name, value in given.items()}

        r = client.patch("/tasks/APO-1", {"title": sqlstate}, headers=given)

        assert (r.status_code, r.json()["title"]) == (200, sqlstate)
        assert len(attempts) == times + 1
        assert len(events_of(fixtures, verb="changed")) == number + 1
        assert r.json()["version"] == number + 2
        etag = r.headers["ETag"]


@pytest.mark.parametrize("sqlstate", CONTENDED)
def test_write_that_is_contended_three_times_answers_503(fixtures, client, fail, sqlstate):
    attempts = fail(sqlstate, MAX_ATTEMPTS)

    r = client.patch("/tasks/APO-1", {"title": "x"}, headers={"Idempotency-Key": "k"})

    assert (r.status_code, r.json()["code"], r.headers["Retry-After"]) == (503, "contended", "1")
    assert len(attempts) == MAX_ATTEMPTS
    assert events_of(fixtures, verb="changed") == []
    again = client.patch("/tasks/APO-1", {"title": "x"}, headers={"Idempotency-Key": "k"})
    assert (again.status_code, "Idempotency-Replayed" in again.headers) == (200, False)


@pytest.mark.parametrize("sqlstate", ["55P03", "57014", "XX000"])
def test_write_that_fails_for_another_reason_is_not_run_again(fixtures, client, fail, sqlstate):
    attempts = fail(sqlstate, 1)

    r = client.patch("/tasks/APO-1", {"title": "x"})

    assert r.status_code == (500 if sqlstate == "XX000" else 503)
    assert ("Retry-After" in r.headers) == (r.status_code == 503)
    assert len(attempts) == 1
    assert events_of(fixtures, verb="changed") == []


@pytest.mark.parametrize(
    "prepared", [False, True], ids=["COMMIT alone", "COMMIT with the response"]
)
def test_contended_commit_is_run_again_and_recorded_once(fixtures, client, prepared):
    for number in range(4 if prepared else 0):
        assert client.patch("/tasks/APO-1", {"title": f"{number}"}).status_code == 200
    before = len(events_of(fixtures))

    with failing_commits("40001", MAX_ATTEMPTS - 1):
        r = client.patch("/tasks/APO-1", {"title": "x"})

    assert (r.status_code, r.json()["title"]) == (200, "x")
    assert len(events_of(fixtures)) == before + 1


@pytest.mark.parametrize(
    "prepared", [False, True], ids=["COMMIT alone", "COMMIT with the response"]
)
def test_commit_that_is_contended_three_times_answers_503(fixtures, client, prepared):
    for number in range(4 if prepared else 0):
        assert client.patch("/tasks/APO-1", {"title": f"{number}"}).status_code == 200
    before = len(events_of(fixtures))

    with failing_commits("40P01", MAX_ATTEMPTS):
        r = client.patch("/tasks/APO-1", {"title": "x"})

    assert (r.status_code, r.headers["Retry-After"]) == (503, "1")
    assert len(events_of(fixtures)) == before


def test_contended_dry_run_is_run_again(fixtures, client, fail):
    fail("40001", 1)

    r = client.patch("/tasks/APO-1?dry_run=true", {"title": "x"})

    assert (r.status_code, r.headers["Dry-Run"]) == (200, "true")
    assert events_of(fixtures, verb="changed") == []


def test_contended_read_is_run_again(client, fail):
    """A standby cancels reads that conflict with its recovery."""
    attempts = fail("40001", 1, task_api, "task_response")

    assert client.get("/tasks/APO-1").status_code == 200
    assert len(attempts) == 2


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("sqlstate", "times", "status", "changes"),
    [
        ("40P01", 1, 302, 1),
        ("40P01", MAX_ATTEMPTS, 503, 0),
        ("25006", 1, 503, 0),
        ("57P01", 1, 503, 0),
    ],
)
def test_contended_admin_page_is_run_again_or_answers_503(
    fixtures, fail, sqlstate, times, status, changes
):
    with inside(fixtures.acme):
        fixtures.boss.user.set_password(PASSWORD)
        fixtures.boss.user.save()
    browser = Client(SERVER_NAME="acme.localhost", raise_request_exception=False)
    form = {"username": "boss@acme.example", "password": PASSWORD}
    assert browser.post("/admin/login/?next=/admin/", form).status_code == 302
    fail(sqlstate, times, task_admin, "change_tasks")
    chosen = {"action": "complete", "_selected_action": [fixtures.task.pk]}

    r = browser.post("/admin/tasks/task/", chosen)

    assert r.status_code == status
    assert ("Retry-After" in r.headers) == (status == 503)
    assert len(events_of(fixtures, verb="completed")) == changes


def test_contended_purge_is_run_again(fixtures, fail):
    with inside(fixtures.acme):
        delete_task(fixtures.ada, fixtures.task)
    attempts = fail("40P01", 1, purging, "purge_older")

    call_command("purge", days=0)

    assert len(attempts) > 1
    with inside(fixtures.acme):
        assert not Task.everything.filter(pk=fixtures.task.pk).exists()


# ---- a task that is moved between being read and being locked -----------------------------------

WRITES = {
    "change": lambda c, t, _: c.patch(f"/tasks/{t}", {"title": "x"}),
    "tag": lambda c, t, _: c.patch(f"/tasks/{t}", {"tags": ["x"]}),
    "set blockers": lambda c, t, _: c.patch(f"/tasks/{t}", {"blocked_by": []}),
    "set a parent": lambda c, t, _: c.patch(f"/tasks/{t}", {"parent_id": None, "title": "y"}),
    "complete": lambda c, t, _: c.post(f"/tasks/{t}/completion"),
    "assign": lambda c, t, _: c.post(f"/tasks/{t}/assignment", {"assignee_id": c.me}),
    "comment": lambda c, t, _: c.post("/comments", {"task_id": t, "body": "x"}),
    "change a comment": lambda c, _, k: c.patch(f"/comments/{k}", {"body": "y"}),
    "delete a comment": lambda c, _, k: c.delete(f"/comments/{k}"),
    "bulk": lambda c, t, _: c.post("/tasks/bulk", {"operations": [{"op": "complete", "id": t}]}),
    "add a subtask": lambda c, t, _: c.post(
        "/tasks", {"project_id": c.project, "title": "x", "parent_id": t}
    ),
    "delete": lambda c, t, _: c.delete(f"/tasks/{t}"),
}


@pytest.fixture
def move_after_lookup(monkeypatch):
    """move_after_lookup(actor, task, project) lets the actor move the task when a request has looked
    it up and has not locked it yet.
    """

    def prepare(actor, task, project):
        pending = [task.pk]

        def move():
            with inside(actor.tenant):
                move_task(actor, Task.objects.select_related("project").get(pk=task.pk), project)

        def attach_and_move(actor, rows):
            result = original(actor, rows)
            task_ids = {
                row.pk if isinstance(row, Task) else getattr(row, "task_id", 0) for row in result
            }
            if task_ids & set(pending):
                pending.clear()
                with ThreadPoolExecutor() as pool:
                    pool.submit(call_and_disconnect, move).result()
            return result

        monkeypatch.setattr(lookup, "_attach_roles", attach_and_move)

    original = lookup._attach_roles
    return prepare


@pytest.mark.slow
@pytest.mark.parametrize(
    "is_member", [True, False], ids=["to a project of the member", "to an invisible project"]
)
def test_permission_on_a_moved_task_is_checked_in_its_new_project(
    fixtures, move_after_lookup, is_member
):
    statuses = {}
    with inside(fixtures.acme):
        other = create_project(fixtures.boss, name="Other", key="OTH")
        if is_member:
            add_member(fixtures.boss, other, user=fixtures.bob.user)
    client = ApiClient(token_of(fixtures.bob))
    client.me, client.project = fixtures.bob.user.pk, fixtures.apollo.pk
    for name, write in WRITES.items():
        with inside(fixtures.acme):
            task = create_task(fixtures.ada, fixtures.apollo, title="t")
            comment = create_comment(fixtures.bob, task, body="c")
            before = Event.objects.latest("pk").pk
        move_after_lookup(fixtures.boss, task, other)

        r = write(client, task.pk, comment.pk)

        with inside(fixtures.acme):
            recorded = list(Event.objects.filter(pk__gt=before).order_by("pk"))
            assert Task.everything.get(pk=task.pk).project_id == other.pk
        statuses[name] = r.status_code
        assert recorded[0].verb == "moved"
        assert {event.project_id for event in recorded if event.subject_type != "tag"} == {other.pk}
        assert len(recorded) == 1 or is_member, name

    refused = dict.fromkeys(WRITES, 404) | {"add a subtask": 422, "comment": 422}
    done = dict.fromkeys(WRITES, 200) | {"delete a comment": 204, "delete": 204}
    done |= {"comment": 201, "add a subtask": 422}  # its parent is in another project now
    assert statuses == (done if is_member else refused)


@pytest.mark.slow
def test_moves_of_one_task_at_once_all_succeed(fixtures):
    with inside(fixtures.acme):
        projects = [fixtures.apollo] + [
            create_project(fixtures.ada, name=n).id for n in ("One", "Two")
        ]
    ids = [fixtures.apollo.pk, *projects[1:]]
    token = token_of(fixtures.ada)

    def move_around(start):
        client = ApiClient(token)
        bodies = [{"project_id": ids[(start + n) % 3]} for n in range(4)]
        return [client.post(f"/tasks/{fixtures.task.pk}/move", body).status_code for body in bodies]

    with ThreadPoolExecutor() as pool:
        statuses = list(pool.map(lambda start: call_and_disconnect(move_around, start), range(3)))

    assert statuses == [[200] * 4] * 3
    versions = len(events_of(fixtures, subject_id=fixtures.task.pk))
    with inside(fixtures.acme):
        assert Task.objects.get(pk=fixtures.task.pk).version == versions


# ---- prepared statements that the server does not have as expected ----------------------------------------


@pytest.mark.skipif(bool(settings.POOLER), reason="nothing is prepared for a pooler")
@pytest.mark.parametrize("way", ["forgotten by the server", "unknown to us"])
def test_request_succeeds_when_the_server_has_other_prepared_statements(fixtures, client, way):
    body = {"project_id": fixtures.apollo.pk, "title": "x"}
    for _ in range(4):
        assert client.post("/tasks", body).status_code == 201
    before = len(events_of(fixtures, verb="created"))
    if way == "unknown to us":
        connection.session.transport.prepared.names.clear()
    else:
        with connection.cursor() as cursor:
            cursor.execute("DEALLOCATE ALL")

    statuses = [client.post("/tasks", body).status_code for _ in range(3)]
    statuses += [client.get("/tasks/APO-1").status_code for _ in range(2)]

    assert statuses == [201, 201, 201, 200, 200]
    assert len(events_of(fixtures, verb="created")) == before + 3


def test_contended_request_leaves_no_transaction_open(fixtures, client, fail):
    fail("40001", MAX_ATTEMPTS)
    client.patch("/tasks/APO-1", {"title": "x"})

    assert not connection.in_atomic_block
    with suppress(DatabaseError), transaction.atomic():
        raise_in_database("40001")
    assert client.get("/tasks/APO-1").status_code == 200
