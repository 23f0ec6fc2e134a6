"""Requests of one client do not delay or displace those of others, whatever tokens it sends."""

from __future__ import annotations

import threading
import time

import pytest

from taskflow.front import clients, lanes
from taskflow.front.clients import KnownUsers, find_address
from taskflow.front.environ import build_environ
from taskflow.front.front import Front
from taskflow.front.limits import WORK_SLOTS
from taskflow.front.shares import find_writer
from taskflow.http.request_record import USER
from taskflow.tests.front_doubles import LONG, Application, FakeRequest

pytestmark = pytest.mark.one_database
ATTACKER, CLIENT = "10.0.0.66:1", "10.0.0.7:1"


class Accepting(Application):
    """Accepts the tokens that begin with `good`, each of the user that its last letter names."""

    def __call__(self, environ, start_response):
        token = str(environ.get("HTTP_AUTHORIZATION", "")).split(" ")[-1]
        if token.startswith("good"):
            environ[USER] = 1, token[-1]
        return super().__call__(environ, start_response)


@pytest.fixture
def application():
    application = Accepting()
    yield application
    application.unblock.set()


@pytest.fixture
def server(application, monkeypatch):
    monkeypatch.setattr(lanes, "MAX_WAITING", 30)
    return Front(application, (("POST", "/sign-in"),))


def request(token, client=CLIENT, path="/x", method="GET"):
    sent = FakeRequest(method, path, authorization=f"Bearer {token}")
    sent.client = client
    return sent


def block(server, application):
    """Take all slots with requests that wait for `application.unblock`."""
    before = len(application.calls)
    for _ in range(WORK_SLOTS):
        blocked = FakeRequest("GET", "/blocked")
        threading.Thread(target=server.receive, args=[blocked], daemon=True).start()
    wait_until(lambda: len(application.calls) == before + WORK_SLOTS)


def wait_until(condition):
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def answer_in_turn(server, application, requests):
    """Send the requests while all slots are taken. Return the tokens in the order of the answers,
    without those that were answered before.
    """
    block(server, application)
    before = len(application.calls)
    for sent in requests:
        server.receive(sent)
    application.unblock.set()
    wait_until(lambda: server.is_idle)
    headers = [str(call["HTTP_AUTHORIZATION"]) for call in application.calls[before:]]
    return [header.split(" ")[-1] for header in headers]


def test_unknown_tokens_of_one_address_take_the_turns_of_one_client(server, application):
    server.receive(request("good-a"))
    made_up = [request(f"bad{number}", ATTACKER) for number in range(20)]

    order = answer_in_turn(server, application, [*made_up, request("good-a")])

    assert order.index("good-a") <= WORK_SLOTS


def test_one_token_in_many_spellings_takes_the_turns_of_one_client(server, application):
    server.receive(request("good-a"))
    server.receive(request("good-b"))
    spellings = [request(" " * number + "good-b") for number in range(20)]

    order = answer_in_turn(server, application, [*spellings, request("good-a")])

    assert order.index("good-a") <= WORK_SLOTS


def test_many_tokens_of_one_user_take_the_turns_of_one_client(server, application):
    tokens = [f"good-{number}-b" for number in range(20)]
    for token in (*tokens, "good-a"):
        server.receive(request(token))

    order = answer_in_turn(server, application, [*map(request, tokens), request("good-a")])

    assert order.index("good-a") <= WORK_SLOTS


def test_users_behind_one_address_take_turns(server, application):
    for token in ("good-a", "good-b"):
        server.receive(request(token))
    requests = [request("good-b") for _ in range(20)]

    order = answer_in_turn(server, application, [*requests, request("good-a")])

    assert order.index("good-a") <= WORK_SLOTS


def test_queue_that_one_client_has_filled_takes_the_requests_of_others(server, application):
    server.receive(request("good-a"))
    flood = [request("bad", ATTACKER) for _ in range(40)]
    block(server, application)
    for sent in flood:
        server.receive(sent)
    other = request("good-a")

    server.receive(other)
    application.unblock.set()
    wait_until(lambda: server.is_idle)

    assert other.status == 201
    assert [sent.status for sent in flood].count(503) == len(flood) - 29


def test_queue_of_single_requests_refuses_the_newest(server, application):
    block(server, application)
    requests = [request("bad", f"10.0.0.{number}:1") for number in range(31)]
    for sent in requests:
        server.receive(sent)

    assert [sent.status for sent in requests] == [None] * 30 + [503]


def test_token_that_is_no_longer_accepted_counts_for_its_address():
    users = KnownUsers()
    environ = build_environ(request("good-a"))
    users.learn(environ | {USER: (1, 2)})
    known = users.identify(environ)

    users.learn(environ)

    assert known == (1, 2)
    assert users.identify(environ) == find_address(environ) == "10.0.0.7"


def test_known_tokens_are_limited(monkeypatch):
    monkeypatch.setattr(clients, "MAX_KNOWN_TOKENS", 3)
    users = KnownUsers()
    environs = [build_environ(request(f"good-{letter}")) | {USER: letter} for letter in "abcd"]

    for environ in environs:
        users.learn(environ)

    assert len(users) == 3
    assert [users.identify(environ) for environ in environs] == ["10.0.0.7", "b", "c", "d"]


@pytest.mark.parametrize("separator", [" ", "   ", " \t", "\t"])
def test_writer_is_found_in_a_token_as_the_application_reads_it(separator):
    environ = {"REQUEST_METHOD": "POST", "HTTP_AUTHORIZATION": f"Bearer{separator}tf_7_x"}

    writer = find_writer(environ | {"HTTP_X_TENANT": "other"})

    assert writer == ("other" if separator == "\t" else "7")  # a tab alone ends no scheme
