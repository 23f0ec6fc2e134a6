"""GET /events with `wait` and as a stream: what a run answers, and what the front makes of it."""

from __future__ import annotations

import gzip
import json

import pytest
from django.db import connections

from accounts.actions.tokens import revoke_token
from accounts.models import ApiToken
from conftest import token_of
from taskflow.front.front import Front
from taskflow.http import request_limits
from taskflow.http.waiting import CAN_WAIT, WAIT, WAIT_STATE
from taskflow.tenancy import inside
from taskflow.tests.front_doubles import FakeRequest, wait_until_idle
from taskflow.wsgi import application
from tasks.actions.members import remove_member
from tasks.models import ProjectMember
from tasks.tests.factories import TaskFactory

STREAM = "text/event-stream"


def run(client, path, state=None, method="get", body=None, **headers):
    """Answer a request as in a server that lets it wait. Return the response and its Wait."""
    environ = {CAN_WAIT: True} | ({} if state is None else {WAIT_STATE: state})
    options = {"data": body} if body is not None else {}
    response = getattr(client, method)(path, headers=headers, **options, **environ)
    return response, response.wsgi_request.META.get(WAIT)


@pytest.fixture
def client(fixtures, as_):
    return as_(fixtures.ada)


@pytest.fixture
def cursor(client):
    return client.get("/events").json()["next_cursor"]


def add_task(fixtures):
    with inside(fixtures.acme):
        return TaskFactory(actor=fixtures.ada, project=fixtures.apollo)


def read_frames(text):
    """Return the fields of each frame."""
    frames = [frame.split("\n") for frame in text.strip().split("\n\n")]
    return [dict(line.split(": ", 1) for line in frame) for frame in frames if frame != [""]]


# ---- what a run answers --------------------------------------------------------------------------


def test_run_without_events_waits_from_its_cursor(client, fixtures, cursor):
    response, wait = run(client, f"/events?after={cursor}&wait=20")

    assert response.json() == {"data": [], "next_cursor": cursor, "has_more": False}
    assert (wait.tenant_id, wait.seconds, wait.state) == (fixtures.acme.pk, 20, cursor)
    assert not wait.is_stream


def test_run_with_events_does_not_wait(client, fixtures, cursor):
    add_task(fixtures)

    response, wait = run(client, f"/events?after={cursor}&wait=20")

    assert len(response.json()["data"]) == 1
    assert wait is None


@pytest.mark.parametrize("query", ["after=0&wait=0", ""])
def test_request_without_wait_does_not_wait(client, query):
    assert run(client, f"/events?{query}&type=tag.deleted")[1] is None


def test_request_that_begins_now_gets_what_comes_after_its_first_run(client, fixtures):
    _, wait = run(client, "/events?wait=20")
    add_task(fixtures)

    response, _ = run(client, "/events?wait=20", wait.state)

    assert [event["verb"] for event in response.json()["data"]] == ["task.created"]


def test_events_that_the_filters_leave_out_move_the_position(client, fixtures, cursor):
    add_task(fixtures)

    response, wait = run(client, f"/events?after={cursor}&wait=20&type=tag.created")

    assert response.json()["data"] == []
    assert wait.state == response.json()["next_cursor"] != cursor


@pytest.mark.parametrize("seconds", ["-1", "26", "1.5", "x"])
def test_time_out_of_range_is_refused(client, seconds):
    response, wait = run(client, f"/events?wait={seconds}")

    assert (response.status_code, wait) == (422, None)


def test_head_does_not_wait(client, cursor):
    response, wait = run(client, f"/events?after={cursor}&wait=20", method="head")

    assert (response.status_code, wait) == (200, None)


def test_without_a_front_the_answer_comes_at_once(client, cursor):
    response = client.get(f"/events?after={cursor}&wait=20")

    assert response.json()["data"] == []


def test_waiting_request_counts_once(client, cursor, settings):
    settings.REQUESTS_PER_TOKEN = 1
    request_limits.by_token.forget()
    run(client, f"/events?after={cursor}&wait=20")

    assert run(client, f"/events?after={cursor}&wait=20", cursor)[0].status_code == 200
    assert run(client, f"/events?after={cursor}&wait=20")[0].status_code == 429
    request_limits.by_token.forget()


# ---- streams -------------------------------------------------------------------------------------


def test_stream_has_the_events_of_the_list_with_their_cursors(client, fixtures, cursor):
    add_task(fixtures)
    listed = client.get(f"/events?after={cursor}").json()

    response, wait = run(client, f"/events?after={cursor}", accept=STREAM)

    (frame,) = read_frames(response.text)
    assert (frame["event"], frame["id"]) == ("task.created", listed["next_cursor"])
    assert json.loads(frame["data"]) == listed["data"][0]
    assert response["Content-Type"] == f"{STREAM}; charset=utf-8"
    assert response["X-Accel-Buffering"] == "no"
    assert "Accept" in response["Vary"]
    assert (wait.is_stream, wait.is_due, wait.state) == (True, False, listed["next_cursor"])


def test_stream_begins_now_and_says_where(client, cursor):
    response, wait = run(client, "/events", accept=STREAM)

    assert read_frames(response.text) == [{"id": cursor}]
    assert wait.state == cursor


def test_run_of_a_stream_that_brings_nothing_sends_nothing(client, cursor):
    response, wait = run(client, "/events", cursor, accept=STREAM)

    assert response.content == b""
    assert wait.state == cursor


def test_last_event_id_replaces_after(client, fixtures, cursor):
    add_task(fixtures)
    now = client.get("/events").json()["next_cursor"]

    response, _ = run(client, f"/events?after={now}", accept=STREAM, last_event_id=cursor)

    assert len(read_frames(response.text)) == 1


def test_wrong_last_event_id_is_refused(client):
    response, wait = run(client, "/events", accept=STREAM, last_event_id="x")

    assert (response.status_code, response.json()["code"]) == (400, "invalid_cursor")
    assert wait is None


def test_long_stream_is_not_compressed_and_goes_on_at_once(client):
    response, wait = run(client, "/events?after=0&limit=3", accept=STREAM, accept_encoding="gzip")

    assert "Content-Encoding" not in response
    assert len(read_frames(response.text)) == 3
    assert wait.is_due


@pytest.mark.parametrize("accept", ["application/json", "*/*", f"application/json, {STREAM};q=0.5"])
def test_other_clients_get_json(client, accept):
    response, _ = run(client, "/events", accept=accept, accept_encoding="gzip")

    body = response.content
    assert json.loads(gzip.decompress(body) if "Content-Encoding" in response else body)


# ---- with the front ------------------------------------------------------------------------------


@pytest.fixture
def server():
    server = Front(application, ())
    yield server
    server.waits.stop()
    wait_until_idle(server)
    for threads in server.waits._threads.values():
        threads.submit(connections.close_all).result()
        threads.shutdown()


def send(server, actor, path="/events", accept="application/json", query="", **options):
    with inside(actor.tenant):
        token = token_of(actor, "read", **options)
    request = FakeRequest("GET", f"/api/v1{path}", authorization=f"Bearer {token}", accept=accept)
    request.query_string = query
    server.receive(request)
    return request


def wake(server, fixtures):
    server.waits.wake([fixtures.acme.pk])
    wait_until_idle(server)


@pytest.mark.django_db(transaction=True)
def test_poll_is_answered_with_the_event(server, fixtures):
    request = send(server, fixtures.ada, query="wait=25")
    assert request.response is None

    add_task(fixtures)
    wake(server, fixtures)

    (event,) = json.loads(request.response[2])["data"]
    assert event["verb"] == "task.created"


@pytest.mark.django_db(transaction=True)
def test_stream_gets_each_event_once(server, fixtures):
    request = send(server, fixtures.ada, accept=STREAM)
    for _ in range(3):
        add_task(fixtures)
        wake(server, fixtures)
    wake(server, fixtures)

    frames = [frame for frame in read_frames(request.sent_text) if "data" in frame]
    assert len({frame["id"] for frame in frames}) == len(frames) == 3


@pytest.mark.django_db(transaction=True)
def test_lost_membership_narrows_the_stream(server, fixtures):
    bob = send(server, fixtures.bob, accept=STREAM)
    add_task(fixtures)
    wake(server, fixtures)
    with inside(fixtures.acme):
        member = ProjectMember.objects.get(project=fixtures.apollo, user=fixtures.bob.user)
        remove_member(fixtures.ada, member)
    add_task(fixtures)
    wake(server, fixtures)

    assert bob.sent_text.count("event: task.created") == 1
    assert not bob.has_stream_ended


@pytest.mark.django_db(transaction=True)
def test_revoked_token_ends_the_stream(server, fixtures):
    request = send(server, fixtures.ada, accept=STREAM)
    with inside(fixtures.acme):
        token = ApiToken.objects.filter(user=fixtures.ada.user).latest("pk")
        revoke_token(fixtures.ada, token)

    wake(server, fixtures)

    assert request.has_stream_ended
    problem = read_frames(request.sent_text)[-1]
    assert problem["event"] == "problem"
    assert json.loads(problem["data"])["code"] == "unauthenticated"
