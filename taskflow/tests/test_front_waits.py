"""Requests wait for commits without a thread, and are answered when there is something."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

import pytest

from taskflow.front import front, held, waits
from taskflow.front.front import Front
from taskflow.http.waiting import (
    READER_CLASSES,
    READERS,
    WAIT,
    WAIT_STATE,
    WAITED_SECONDS,
    Wait,
)
from taskflow.metrics import definitions
from taskflow.metrics.exposition import write_text
from taskflow.tests.front_doubles import LONG, FakeRequest, wait_until_idle

pytestmark = pytest.mark.one_database
TENANT, OTHER_TENANT = 7, 8
WAIT_SECONDS = 25.0


class Feed:
    """An application whose /poll and /stream wait until there are events after their position.

    The path ends with the tenant. A request without the right token gets 401.
    """

    def __init__(self) -> None:
        self.events: list[str] = []
        self.tokens = {"a", "b"}
        self.failure: int | None = None  # a status
        self.calls: list[dict[str, object]] = []
        self.records: list[float] = []  # how long requests have waited that were not run again
        self.expires_at: float | None = None
        self.page_size = 100
        self.again_after: float | None = None
        # What share_answer() is given, by token; None for an operation that does not call it.
        self.classes: dict[str, str] | None = None
        self.on_run: Callable[[], object] = lambda: None

    def __call__(self, environ, start_response):
        self.calls.append(dict(environ))
        self.on_run()
        token = read_token(environ)
        if self.failure or token not in self.tokens:
            start_response(
                f"{self.failure or 401} No", [("Content-Type", "application/problem+json")]
            )
            return [b'{"code": "refused"}']
        if READERS in environ and self.classes is not None:
            environ[READER_CLASSES] = {number_of(t): c for t, c in self.classes.items()}
        _, kind, tenant = str(environ["PATH_INFO"]).split("/")
        position = int(str(environ.get(WAIT_STATE, 0)))
        page = self.events[position : position + self.page_size]
        position += len(page)
        if kind == "stream":
            has_more = position < len(self.events)
            self.wait(environ, tenant, position, is_stream=True, is_due=has_more)
            body = "".join(f"id: {position}\ndata: {event}\n\n" for event in page)
        else:
            if not page:
                self.wait(environ, tenant, position, is_stream=False, is_due=False)
            body = json.dumps({"data": page, "next_cursor": position})
        start_response("200 OK", [("X-Request-Id", f"r{len(self.calls)}"), ("Content-Length", "9")])
        return [body.encode()]

    def wait(self, environ, tenant, position, *, is_stream, is_due):
        seconds = float("inf") if is_stream else WAIT_SECONDS
        environ[WAIT] = Wait(
            int(tenant), seconds, str(position), is_stream, is_due, self.expires_at,
            self.records.append, number_of(read_token(environ)), self.again_after,
        )  # fmt: skip


def read_token(environ):
    return str(environ.get("HTTP_AUTHORIZATION", "")).removeprefix("Bearer ")


def number_of(token):
    """Return the id of a token, None for an empty text."""
    return int.from_bytes(token.encode()) or None


@pytest.fixture
def feed():
    return Feed()


@pytest.fixture
def server(feed):
    server = Front(feed, ())
    yield server
    server.waits.stop()
    wait_until_idle(server)


@pytest.fixture
def clock(monkeypatch):
    """clock(seconds) moves the clock of the front on, and lets it do what is due."""
    real = time.monotonic
    moved = [0.0]
    monkeypatch.setattr(front.time, "monotonic", lambda: real() + moved[0])

    def move(server, seconds):
        moved[0] += seconds
        server.tend()
        wait_until_idle(server)

    return move


def send(server, path=f"/poll/{TENANT}", token="a", method="GET", client="10.0.0.7:1", **headers):
    request = FakeRequest(method, path, authorization=f"Bearer {token}", **headers)
    request.client = client
    server.receive(request)
    return request


def commit(server, feed, event="done", tenant=TENANT):
    """Add an event, and wake who waits for the tenant."""
    feed.events.append(event)
    server.waits.wake([tenant])
    wait_until_idle(server)


# ---- long polls ----------------------------------------------------------------------------------


def test_request_with_a_result_is_answered_at_once(server, feed):
    feed.events.append("done")

    request = send(server)

    assert request.response[2] == b'{"data": ["done"], "next_cursor": 1}'
    assert len(server.waits) == 0


def test_waiting_request_needs_no_thread_and_is_answered_after_a_commit(server, feed):
    request = send(server)

    assert request.response is None
    assert server.is_idle
    commit(server, feed)
    assert request.response[2] == b'{"data": ["done"], "next_cursor": 1}'
    assert len(server.waits) == 0


def test_commit_of_another_tenant_wakes_nobody(server, feed):
    request = send(server)

    commit(server, feed, tenant=OTHER_TENANT)

    assert request.response is None
    assert len(feed.calls) == 1


def test_request_goes_on_waiting_after_a_commit_that_brings_nothing(server, feed):
    request = send(server)
    server.waits.wake([TENANT])
    wait_until_idle(server)

    assert request.response is None
    assert len(feed.calls) == 2
    commit(server, feed)
    assert request.status == 200


def test_request_gets_its_last_answer_when_its_time_is_over(server, feed, clock):
    request = send(server)

    clock(server, WAIT_SECONDS - 1)
    assert request.response is None
    clock(server, 2)

    assert request.response[2] == b'{"data": [], "next_cursor": 0}'
    assert len(feed.calls) == 1
    assert feed.records == [pytest.approx(WAIT_SECONDS + 1, abs=1)]


def test_request_is_run_again_when_its_operation_wants_it_without_a_commit(server, feed, clock):
    feed.again_after = 5
    request = send(server, method="POST")
    feed.again_after = None
    feed.events.append("expired")

    clock(server, 4)
    assert request.response is None
    clock(server, 2)

    assert request.response[2] == b'{"data": ["expired"], "next_cursor": 1}'


def test_runs_keep_the_position_and_the_id_of_the_request_and_say_how_long_it_has_waited(
    server, feed, clock
):
    send(server)
    clock(server, 3)

    commit(server, feed)

    first, second = feed.calls
    assert WAIT_STATE not in first
    assert (second[WAIT_STATE], second["HTTP_X_REQUEST_ID"]) == ("0", "r1")
    assert second[WAITED_SECONDS] == pytest.approx(3, abs=1)


def test_commit_between_the_first_run_and_the_wait_is_not_missed(server, feed, monkeypatch):
    find_excess = server.waits._find_excess

    def commit_meanwhile(*args):
        feed.events.append("done")
        server.waits.wake([TENANT])
        return find_excess(*args)

    monkeypatch.setattr(server.waits, "_find_excess", commit_meanwhile)

    request = send(server)
    wait_until_idle(server)

    assert request.response[2] == b'{"data": ["done"], "next_cursor": 1}'


def test_body_of_a_waiting_write_is_sent_to_each_run(server, feed):
    request = FakeRequest("POST", f"/poll/{TENANT}", length=2, authorization="Bearer a")
    server.receive(request)
    request.send(b"{}")

    commit(server, feed)

    assert [call["wsgi.input"].getvalue() for call in feed.calls] == [b"{}", b"{}"]
    assert request.status == 200


def test_request_with_a_long_body_does_not_wait(server, feed):
    size = waits.MAX_HELD_BODY_BYTES + 1
    request = FakeRequest("POST", f"/poll/{TENANT}", length=size, authorization="Bearer a")
    server.receive(request)
    request.send(b"x" * size)

    assert request.response[2] == b'{"data": [], "next_cursor": 0}'
    assert feed.records == [0.0]


@pytest.mark.parametrize("end", ["time", "stop"])
def test_write_that_is_being_run_is_not_answered_with_an_older_answer(server, feed, end):
    """Otherwise the client would not learn of the claim that the run commits."""
    request = send(server, method="POST")
    is_running, may_end = threading.Event(), threading.Event()

    def run_slowly():
        is_running.set()
        assert may_end.wait(LONG)

    feed.events.append("claimed")
    feed.on_run = run_slowly
    server.waits.wake([TENANT])
    assert is_running.wait(LONG)

    if end == "stop":
        server.waits.stop()
    else:
        server.waits.tend(time.monotonic() + WAIT_SECONDS + 1)
    assert request.response is None
    may_end.set()
    wait_until_idle(server)

    assert b"claimed" in request.response[2]


def test_sessions_do_not_share_the_limit_of_a_token(server, feed, monkeypatch):
    monkeypatch.setattr(waits, "MAX_HELD_OF_TOKEN", 1)
    feed.tokens.add("")
    for cookie in ("sessionid=a", "sessionid=b"):
        request = FakeRequest("GET", f"/poll/{TENANT}", cookie=cookie)
        server.receive(request)

        assert request.response is None


# ---- runs that are shared ------------------------------------------------------------------------


def test_equal_requests_share_one_run_and_keep_their_ids(server, feed):
    requests = [send(server, client=f"10.0.0.7:{n}", user_agent=f"c{n}") for n in range(5)]

    commit(server, feed)

    assert {request.response[2] for request in requests} == {
        b'{"data": ["done"], "next_cursor": 1}'
    }
    assert [request.response[1]["X-Request-Id"] for request in requests] == [
        f"r{n}" for n in (1, 2, 3, 4, 5)
    ]
    assert len(feed.calls) == 6


@pytest.mark.parametrize("other", [{"token": "b"}, {"accept_language": "de"}])
def test_requests_that_differ_are_run_apart(server, feed, other):
    send(server)
    send(server, **other)

    commit(server, feed)

    assert len(feed.calls) == 4


def test_readers_of_one_class_share_one_run_and_each_has_a_line_in_the_log(server, feed):
    feed.classes = {"a": "member", "b": "member"}
    requests = [send(server, token=token) for token in "aabb"]

    commit(server, feed)

    assert {request.response[2] for request in requests} == {
        b'{"data": ["done"], "next_cursor": 1}'
    }
    assert len(feed.calls) == 5
    assert feed.calls[-1].get(READERS) == (number_of("a"), number_of("b"))
    assert len(feed.records) == 3  # the run itself has written that of the first


def test_readers_of_other_classes_get_an_answer_together(server, feed):
    feed.tokens |= {"c", "d"}
    feed.classes = {"a": "member", "b": "guest", "c": "guest", "d": "member"}
    requests = [send(server, token=token) for token in "abcd"]

    commit(server, feed)

    assert [request.status for request in requests] == [200] * 4
    readers = [call.get(READERS) for call in feed.calls[4:]]
    assert readers == [
        tuple(map(number_of, "abcd")),
        tuple(map(number_of, "bc")),
    ]


def test_token_without_a_class_is_run_alone(server, feed):
    feed.classes = {"a": "member"}
    requests = [send(server, token=token) for token in "ab"]
    feed.tokens.remove("b")

    commit(server, feed)

    assert [request.status for request in requests] == [200, 401]
    assert READERS not in feed.calls[-1]


def test_refused_token_leaves_the_other_readers_together(server, feed):
    feed.tokens |= {"c", "d"}
    feed.classes = dict.fromkeys("bcd", "member")
    requests = [send(server, f"/stream/{TENANT}", token=token) for token in "abcd"]
    feed.tokens.remove("a")

    commit(server, feed)

    assert requests[0].has_stream_ended
    assert all("done" in request.sent_text for request in requests[1:])
    assert len(feed.calls) == 4 + 2


def test_shared_run_does_not_change_when_a_token_expires(server, feed, clock):
    feed.classes = dict.fromkeys("ab", "member")
    stream = send(server, f"/stream/{TENANT}")
    feed.expires_at = time.time() + 10
    send(server, f"/stream/{TENANT}", token="b")
    feed.expires_at = None
    commit(server, feed)  # by a run of the first one
    feed.calls.clear()

    clock(server, 11)

    assert [read_token(call) for call in feed.calls] == ["b"]
    assert not stream.has_stream_ended


def test_answer_that_cannot_be_sent_does_not_keep_others_from_theirs(server, feed, caplog):
    broken, other = send(server), send(server)
    broken.response_bytes = None

    commit(server, feed)

    assert other.status == 200
    assert "could not take its answer" in caplog.text


def test_writes_are_run_apart(server, feed):
    for _ in range(2):
        send(server, method="POST")

    commit(server, feed)

    assert len(feed.calls) == 4


def test_tenants_take_turns(server, feed):
    feed.tokens |= {f"t{n}" for n in range(10)}
    for n in range(10):
        send(server, token=f"t{n}")
    send(server, f"/poll/{OTHER_TENANT}")
    feed.calls.clear()

    server.waits.wake([TENANT, OTHER_TENANT])
    wait_until_idle(server)

    assert [call["PATH_INFO"] for call in feed.calls].index(f"/poll/{OTHER_TENANT}") <= 1


# ---- streams -------------------------------------------------------------------------------------


def test_stream_sends_each_event_as_it_is_committed(server, feed):
    feed.events.append("first")
    request = send(server, f"/stream/{TENANT}")

    commit(server, feed, "second")

    retry, _, rest = request.sent_text.partition("\n\n")
    assert 1000 <= int(retry.removeprefix("retry: ")) <= 3000
    assert rest == "id: 1\ndata: first\n\nid: 2\ndata: second\n\n"
    assert "Content-Length" not in request.response[1]
    assert not request.has_stream_ended


def test_stream_goes_on_at_once_while_there_is_more(server, feed):
    feed.page_size = 2
    feed.events += ["a", "b", "c", "d", "e"]

    request = send(server, f"/stream/{TENANT}")
    wait_until_idle(server)

    assert request.sent_text.count("data: ") == 5
    assert len(feed.calls) == 3


def test_silent_stream_gets_a_comment_every_15_seconds(server, clock):
    request = send(server, f"/stream/{TENANT}")

    clock(server, 14)
    assert "heartbeat" not in request.sent_text
    clock(server, 2)
    assert request.sent_text.endswith(": heartbeat\n\n")


def test_token_that_is_revoked_ends_the_stream(server, feed):
    request = send(server, f"/stream/{TENANT}")
    feed.tokens.clear()

    commit(server, feed)

    assert request.sent_text.endswith('event: problem\ndata: {"code": "refused"}\n\n')
    assert request.has_stream_ended
    assert len(server.waits) == 0


def test_access_that_ends_without_an_event_ends_the_stream_within_30_seconds(server, feed, clock):
    request = send(server, f"/stream/{TENANT}")
    feed.tokens.clear()

    clock(server, 31)

    assert request.has_stream_ended


def test_token_that_expires_ends_waits_at_that_moment(server, feed, clock):
    feed.expires_at = time.time() + 5
    stream, poll = send(server, f"/stream/{TENANT}"), send(server)
    feed.tokens.clear()

    clock(server, 4)
    assert not stream.has_stream_ended
    clock(server, 2)

    assert stream.has_stream_ended
    assert poll.status == 401


@pytest.mark.parametrize("status", [503, 429, 500])
def test_error_that_may_pass_does_not_end_the_stream(server, feed, clock, status):
    request = send(server, f"/stream/{TENANT}")
    feed.failure = status
    commit(server, feed)
    assert not request.has_stream_ended

    feed.failure = None
    clock(server, 3)

    assert request.sent_text.endswith("data: done\n\n")


def test_run_that_raises_an_error_answers_500_and_the_next_runs_go_on(server, feed, monkeypatch):
    poll = send(server)
    with monkeypatch.context() as patch:
        patch.setattr(feed, "events", None)
        server.waits.wake([TENANT])
        wait_until_idle(server)
    later = send(server)

    commit(server, feed)

    assert (poll.status, later.status) == (500, 200)


def test_slow_reader_is_not_sent_more_than_the_limit_until_it_reads(
    server, feed, clock, monkeypatch
):
    readers: set[str] = set()
    monkeypatch.setattr(waits, "find_writable", lambda clients: readers & set(clients))
    monkeypatch.setattr(held, "MAX_UNREAD_OF_STREAM", 1_000)
    slow = send(server, f"/stream/{TENANT}", client="10.0.0.1:1")
    other = send(server, token="b")
    for _ in range(5):
        commit(server, feed, "x" * 600)

    assert slow.sent_text.count("data: ") == 2
    assert other.status == 200
    readers.add("10.0.0.1:1")
    clock(server, 1)
    assert slow.sent_text.count("data: ") == 5


def test_stream_that_is_read_again_is_judged_again(server, feed, clock, monkeypatch):
    readers: set[str] = set()
    monkeypatch.setattr(waits, "find_writable", lambda clients: readers & set(clients))
    monkeypatch.setattr(held, "MAX_UNREAD_OF_STREAM", 1)
    monkeypatch.setattr(held, "RECHECK_SECONDS", 5.0)
    request = send(server, f"/stream/{TENANT}", client="10.0.0.1:1")
    commit(server, feed)
    clock(server, 16)
    readers.add("10.0.0.1:1")
    clock(server, 1)

    feed.tokens.clear()
    clock(server, 10)  # its last part was read
    clock(server, 1)

    assert request.has_stream_ended


def test_stream_whose_first_part_is_long_goes_on_when_it_is_read(server, feed, clock, monkeypatch):
    monkeypatch.setattr(waits, "find_writable", lambda clients: set(clients))
    monkeypatch.setattr(held, "MAX_UNREAD_OF_STREAM", 100)
    feed.events.append("x" * 600)
    request = send(server, f"/stream/{TENANT}")
    commit(server, feed)

    clock(server, 1)

    assert request.sent_text.endswith("data: done\n\n")


def test_connection_that_is_not_read_for_30_seconds_is_closed(server, feed, clock, monkeypatch):
    closed: set[str] = set()
    monkeypatch.setattr(waits, "find_writable", lambda _: set())
    monkeypatch.setattr(waits, "close_connections", closed.update)
    monkeypatch.setattr(held, "MAX_UNREAD_OF_STREAM", 100)
    request = send(server, f"/stream/{TENANT}", client="10.0.0.1:1")
    commit(server, feed, "x" * 600)

    clock(server, 29)
    assert not closed
    clock(server, 2)

    assert closed == {"10.0.0.1:1"}
    assert request.has_stream_ended
    assert len(server.waits) == 0


# ---- clients that leave, and the end of the server -----------------------------------------------


@pytest.mark.parametrize("kind", ["poll", "stream"])
def test_client_that_leaves_is_forgotten_at_once(server, feed, kind):
    request = send(server, f"/{kind}/{TENANT}")

    request.disconnect.finish()

    assert len(server.waits) == 0
    assert server.waits.list_tenants() == ()
    commit(server, feed)
    assert len(feed.calls) == 1
    assert len(feed.records) == 1


@pytest.mark.parametrize("kind", ["poll", "stream"])
def test_request_of_a_client_that_has_left_does_not_wait(server, feed, kind):
    path = f"/{kind}/{TENANT}"
    request = FakeRequest("GET", path, authorization="Bearer a")
    request.has_ended = True
    server.receive(request)

    assert len(server.waits) == 0
    commit(server, feed)
    assert len(feed.calls) == 1


def test_stop_answers_polls_and_ends_streams(server, feed):
    poll, stream = send(server), send(server, f"/stream/{TENANT}")

    server.waits.stop()

    assert poll.response[2] == b'{"data": [], "next_cursor": 0}'
    assert poll.response[1]["Connection"] == "close"
    assert stream.has_stream_ended
    assert poll.disconnect.is_cancelled
    assert stream.disconnect.is_cancelled
    assert len(server.waits) == 0


def test_request_does_not_wait_once_the_server_stops(server, feed):
    server.waits.stop()

    poll, stream = send(server), send(server, f"/stream/{TENANT}")

    assert poll.response[2] == b'{"data": [], "next_cursor": 0}'
    assert stream.response is not None
    assert stream.sent_parts == []


# ---- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "status", "code"),
    [
        ("MAX_HELD", 503, "overloaded"),
        ("MAX_HELD_OF_TENANT", 429, "too_many_requests"),
        ("MAX_HELD_OF_TOKEN", 429, "too_many_requests"),
    ],
)
def test_waiting_requests_are_bounded(server, feed, monkeypatch, limit, status, code):
    monkeypatch.setattr(waits, limit, 2)
    path = f"/poll/{TENANT}"
    waiting = [send(server, path) for _ in range(2)]

    refused = FakeRequest("GET", path, authorization="Bearer a")
    refused.path = path
    server.receive(refused)

    assert refused.status == status
    assert int(refused.response[1]["Retry-After"]) > 0
    assert len(server.waits) == 2
    waiting[0].disconnect.finish()
    assert send(server, path).response is None


@pytest.fixture
def metrics():
    """The metrics, all at 0. metrics() returns their lines."""
    definitions.registry.lay_out()
    yield lambda: write_text(definitions.registry, [definitions.registry.values]).splitlines()
    definitions.registry.lay_out()


def test_waiting_requests_and_their_wakes_are_counted(server, feed, metrics):
    send(server)
    server.tend()

    commit(server, feed)

    assert "taskflow_requests_held 1" in metrics()
    assert "taskflow_wake_seconds_count 1" in metrics()
