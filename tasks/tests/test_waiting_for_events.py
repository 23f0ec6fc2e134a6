"""GET /events with `wait` and as a stream: what a run answers, and what the front makes of it."""

from __future__ import annotations

import gzip
import json
import threading

import pytest
from django.db import connections

from accounts.actions.tokens import revoke_token
from accounts.models import ApiToken
from accounts.tests.factories import ApiTokenFactory, UserFactory
from conftest import token_of
from taskflow.audit.actor import Actor, TokenScope
from taskflow.front.front import Front
from taskflow.http import request_limits
from taskflow.http.waiting import CAN_WAIT, WAIT, WAIT_STATE
from taskflow.tenancy import inside
from taskflow.tests.front_doubles import FakeRequest, wait_until_idle
from taskflow.wsgi import application
from tasks.actions.members import remove_member
from tasks.api import feed
from tasks.models import ProjectMember
from tasks.queries.feed import describe_events
from tasks.queries.feed_readers import classify_readers
from tasks.tests.factories import MemberFactory, PageFactory, ProjectFactory, TaskFactory

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


def send(server, actor, path="/events", accept="application/json", query="", token=None):
    if token is None:
        with inside(actor.tenant):
            token = token_of(actor, "read")
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


# ---- runs that several tokens share --------------------------------------------------------------


@pytest.fixture
def runs(monkeypatch):
    """The ids of the users whose tokens have been run again, in order."""
    users = []

    def describe(actor, events):
        users.append(actor.user.pk)
        return describe_events(actor, events)

    monkeypatch.setattr(feed, "describe_events", describe)
    return users


def begin(server, runs, *actors, query="", tokens=()):
    """Let readers wait from one position, with new tokens of the actors and with these tokens."""
    with inside(actors[0].tenant):
        tokens = [*(token_of(actor, "read") for actor in actors), *tokens]
    requests = [send(server, None, query=f"wait=25{query}", token=token) for token in tokens]
    assert [request.response for request in requests] == [None] * len(requests)
    runs.clear()
    return requests


def list_verbs(request):
    return [event["verb"] for event in json.loads(request.response[2])["data"]]


@pytest.mark.django_db(transaction=True)
def test_members_with_the_same_memberships_share_a_run(server, fixtures, runs):
    requests = begin(server, runs, fixtures.bob, fixtures.bot, fixtures.bob)

    add_task(fixtures)
    wake(server, fixtures)

    assert [list_verbs(request) for request in requests] == [["task.created"]] * 3
    assert runs == [fixtures.bob.user.pk]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("first", ["bob", "eve"])
def test_member_and_non_member_do_not_share_an_answer(server, fixtures, runs, first):
    order = sorted((fixtures.bob, fixtures.eve), key=lambda a: a.user.handle != first)
    requests = begin(server, runs, *order)
    by_handle = dict(zip((a.user.handle for a in order), requests, strict=True))

    add_task(fixtures)
    wake(server, fixtures)

    assert list_verbs(by_handle["bob"]) == ["task.created"]
    assert by_handle["eve"].response is None
    assert len(runs) == 2


@pytest.mark.django_db(transaction=True)
def test_administrators_share_a_run_with_each_other_only(server, fixtures, runs):
    with inside(fixtures.acme):
        other = Actor(UserFactory(actor=fixtures.boss, is_staff=True), fixtures.acme)
    requests = begin(server, runs, fixtures.boss, other, fixtures.ada)

    with inside(fixtures.acme):
        UserFactory(actor=fixtures.boss)
    wake(server, fixtures)

    assert [list_verbs(request) for request in requests[:2]] == [["user.created"]] * 2
    assert requests[2].response is None
    assert runs == [fixtures.boss.user.pk, fixtures.ada.user.pk]


@pytest.mark.django_db(transaction=True)
def test_draft_is_shown_to_its_owner_only_although_memberships_are_equal(server, fixtures, runs):
    requests = begin(server, runs, fixtures.bob, fixtures.bot)

    with inside(fixtures.acme):
        PageFactory(actor=fixtures.bob, project=fixtures.apollo)
    wake(server, fixtures)

    assert list_verbs(requests[0]) == ["page.created"]
    assert requests[1].response is None
    assert runs == [fixtures.bob.user.pk, fixtures.bot.user.pk]


@pytest.mark.django_db(transaction=True)
def test_filter_by_me_means_the_user_of_each_token(server, fixtures, runs):
    requests = begin(server, runs, fixtures.bob, fixtures.bot, query="&actor=me")

    with inside(fixtures.acme):
        TaskFactory(actor=fixtures.bob, project=fixtures.apollo)
    wake(server, fixtures)

    assert list_verbs(requests[0]) == ["task.created"]
    assert requests[1].response is None


@pytest.mark.django_db(transaction=True)
def test_role_distinguishes_readers(server, fixtures, runs):
    begin(server, runs, fixtures.bob, fixtures.carl)

    add_task(fixtures)
    wake(server, fixtures)

    assert len(runs) == 2


@pytest.mark.django_db(transaction=True)
def test_token_that_another_user_has_created_shows_what_both_see(server, fixtures, runs):
    """Eve is a member of nothing, so a token that Eve creates for an agent shows nothing."""
    with inside(fixtures.acme):
        row, token = ApiTokenFactory(actor=fixtures.bot, scope=TokenScope.READ)
        ApiToken.objects.filter(pk=row.pk).update(issued_by=fixtures.eve.user)
    requests = begin(server, runs, fixtures.bob, tokens=[token])

    add_task(fixtures)
    wake(server, fixtures)

    assert list_verbs(requests[0]) == ["task.created"]
    assert requests[1].response is None


@pytest.mark.django_db(transaction=True)
def test_token_that_is_bound_to_a_project_is_run_apart(server, fixtures, runs):
    with inside(fixtures.acme):
        other = ProjectFactory(actor=fixtures.ada)
        for actor in (fixtures.bob, fixtures.bot):
            MemberFactory(actor=fixtures.ada, project=other, user=actor.user)
        token = token_of(fixtures.bot, "read", project_ids=[other.pk])
    requests = begin(server, runs, fixtures.bob, tokens=[token])

    add_task(fixtures)
    wake(server, fixtures)

    assert list_verbs(requests[0]) == ["task.created"]
    assert requests[1].response is None


@pytest.mark.django_db(transaction=True)
def test_revoked_token_gets_no_part_of_a_shared_answer(server, fixtures, runs):
    requests = begin(server, runs, fixtures.bob, fixtures.bot)
    with inside(fixtures.acme):
        token = ApiToken.objects.filter(user=fixtures.bot.user).latest("pk")
        revoke_token(fixtures.boss, token)

    add_task(fixtures)
    wake(server, fixtures)

    assert list_verbs(requests[0]) == ["task.created"]
    assert requests[1].status == 401


@pytest.mark.django_db(transaction=True)
def test_shared_run_reads_one_snapshot(server, fixtures, runs, monkeypatch):
    """Otherwise a membership that ends between two queries would show its events to others."""
    requests = begin(server, runs, fixtures.bob, fixtures.eve)
    add_task(fixtures)
    with inside(fixtures.acme):
        member = ProjectMember.objects.get(project=fixtures.apollo, user=fixtures.bob.user)

    def remove_meanwhile():
        with inside(fixtures.acme):
            remove_member(fixtures.ada, member)
        connections.close_all()

    def classify(*args, **options):
        thread = threading.Thread(target=remove_meanwhile)
        thread.start()
        thread.join()
        return classify_readers(*args, **options)

    monkeypatch.setattr(feed, "classify_readers", classify)
    wake(server, fixtures)

    assert list_verbs(requests[0]) == ["task.created"]
    assert requests[1].response is None
