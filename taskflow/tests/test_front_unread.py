"""Long responses that are not read have a limit; above it the oldest connections are closed."""

from __future__ import annotations

import os
import socket

import pytest

from taskflow.front import unread
from taskflow.front.front import Front
from taskflow.front.listening import OPEN_FILES
from taskflow.front.unread import Unread, close_connections, name_peer
from taskflow.tests.front_doubles import FakeRequest

pytestmark = pytest.mark.one_database
SIZE = 1_000


@pytest.fixture
def closed(monkeypatch):
    """Lists the clients whose connections were closed."""
    clients = []
    monkeypatch.setattr(unread, "MIN_UNREAD_BYTES", SIZE)
    monkeypatch.setattr(unread, "MAX_UNREAD_BYTES", 10 * SIZE)
    monkeypatch.setattr(unread, "MAX_UNREAD_FILE_BYTES", 10 * SIZE)
    monkeypatch.setattr(unread, "close_connections", lambda some: clients.extend(sorted(some)))
    return clients


def application(environ, start_response):
    start_response("200 OK", [])
    return [b"x" * int(str(environ["PATH_INFO"])[1:])]


def send(server, client, size=SIZE):
    """Return a request of this client, whose response has so many bytes."""
    request = FakeRequest("GET", f"/{size}")
    request.client = client
    server.receive(request)
    return request


def test_oldest_connections_are_closed_down_to_three_quarters_of_the_limit(closed):
    server = Front(application, ())
    for number in range(12):
        send(server, f"10.0.0.1:{number}")

    server.tend()
    server.tend()

    assert closed == ["10.0.0.1:0", "10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", "10.0.0.1:4"]


def test_responses_that_were_read_do_not_count(closed):
    server = Front(application, ())
    for number in range(20):
        request = send(server, f"10.0.0.1:{number}")
        request.disconnect.finish()

    server.tend()

    assert closed == []
    assert not server.unread.in_memory


def test_next_request_of_a_connection_shows_that_its_response_was_read(closed):
    server = Front(application, ())
    requests = [send(server, "10.0.0.1:1") for _ in range(20)]

    server.tend()

    assert closed == []
    assert len(server.unread.in_memory) == 1
    assert [r.disconnect.is_cancelled for r in requests] == [True] * 19 + [False]


def test_response_on_a_connection_that_has_ended_does_not_count(closed):
    server = Front(application, ())
    ended = FakeRequest("GET", f"/{SIZE}")
    ended.has_ended = True
    server.receive(ended)

    assert ended.status == 200  # granian discards it
    assert not server.unread.in_memory
    # Its address is that of another connection by now.
    assert send(server, ended.client).status == 200


def test_short_responses_do_not_count(closed):
    server = Front(application, ())
    for number in range(50):
        assert not send(server, f"10.0.0.1:{number}", SIZE - 1).is_watched

    server.tend()

    assert closed == []


def test_newest_response_is_sent_however_long_it_is(closed):
    server = Front(application, ())
    send(server, "10.0.0.1:1")
    send(server, "10.0.0.1:2", 50 * SIZE)

    server.tend()

    assert closed == ["10.0.0.1:1"]


def test_files_have_a_limit_of_their_own(closed, tmp_path):
    responses = Unread()
    file = tmp_path / "export"
    file.write_bytes(b"x" * 4 * SIZE)
    for number in range(3):
        request = FakeRequest()
        responses.receive(request, f"10.0.0.1:{number}").response_file(200, [], str(file))

    responses.tend()

    assert closed == ["10.0.0.1:0", "10.0.0.1:1"]
    assert len(responses.in_files) == 1
    assert not responses.in_memory


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_only_the_named_connections_are_closed(host):
    with socket.create_server((host, 0), family=socket.getaddrinfo(host, 0)[0][0]) as listener:
        clients = [socket.create_connection(listener.getsockname()[:2], 5) for _ in range(2)]
        accepted = [listener.accept()[0] for _ in clients]

        before = len(os.listdir(OPEN_FILES))

        close_connections({name_peer(accepted[0])})

        assert len(os.listdir(OPEN_FILES)) == before
        assert clients[0].recv(1) == b""
        accepted[1].sendall(b"x")
        assert clients[1].recv(1) == b"x"
        for connection in (*clients, *accepted):
            connection.close()


def test_stopping_ends_the_watch_of_each_connection_and_begins_no_other(closed):
    server = Front(application, ())
    before = send(server, "10.0.0.1:1")

    server.unread.stop()
    after = send(server, "10.0.0.1:2")

    assert before.disconnect.is_cancelled
    assert not server.unread.in_memory
    assert after.disconnect.callback is None
