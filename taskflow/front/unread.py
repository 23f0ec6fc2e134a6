"""Long responses that clients have not read yet, which are held until then.

A client can request a list of 12 MB and read nothing, or a byte now and then. No thread waits for
it, but the response stays in memory. So all such responses together have a limit. Above it, the
connections of the oldest ones are closed, as if the network had failed: granian has no other end.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from threading import Lock

from taskflow.front.limits import MAX_UNREAD_BYTES, MAX_UNREAD_FILE_BYTES, MIN_UNREAD_BYTES
from taskflow.front.listening import OPEN_FILES
from taskflow.front.protocol import (
    BodyStream,
    Future,
    Headers,
    ServerProtocol,
    StreamTransport,
    watch_connection,
)


class CountingProtocol:
    """The connection of one request, whose response counts as unread."""

    __slots__ = ("client", "protocol", "unread")

    def __init__(self, protocol: ServerProtocol, client: str, unread: Unread) -> None:
        self.protocol, self.client, self.unread = protocol, client, unread

    def __aiter__(self) -> BodyStream:
        return self.protocol.__aiter__()

    def client_disconnect(self) -> object:
        return self.protocol.client_disconnect()

    def response_bytes(self, status: int, headers: Headers, body: bytes, /) -> None:
        if len(body) >= MIN_UNREAD_BYTES:
            self.unread.in_memory.add(self.client, self.protocol, len(body))
        self.protocol.response_bytes(status, headers, body)

    def response_file(self, status: int, headers: Headers, file: str, /) -> None:
        self.unread.in_files.add(self.client, self.protocol, os.path.getsize(file))
        self.protocol.response_file(status, headers, file)

    def response_stream(self, status: int, headers: Headers, /) -> StreamTransport:
        return self.protocol.response_stream(status, headers)  # taskflow/front/held.py counts it


class Unread:
    """The responses of a worker that are not read yet, those in memory and those in files."""

    def __init__(self) -> None:
        self.in_memory = UnreadResponses(MAX_UNREAD_BYTES)
        self.in_files = UnreadResponses(MAX_UNREAD_FILE_BYTES)

    def receive(self, protocol: ServerProtocol, client: str) -> ServerProtocol:
        """Return the protocol of a request that a client has sent, which counts its response.

        The client's former response on the same connection counts no more.
        """
        if self.in_memory or self.in_files:
            self.in_memory.end(client)
            self.in_files.end(client)
        return CountingProtocol(protocol, client, self)

    def tend(self) -> None:
        """Close connections if too much is held. To be called several times a second."""
        self.in_memory.tend()
        self.in_files.tend()

    def stop(self) -> None:
        """Count no more. granian must not end while it waits for the end of a connection: one of
        its threads would then drop an object of Python, which aborts the process.
        """
        self.in_memory.stop()
        self.in_files.stop()


class UnreadResponses:
    """Counts long responses, up to `limit` bytes. There is one for each connection at most.

    A response counts until the connection has ended or has brought the next request.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: dict[str, tuple[int, Future]] = {}  # bytes; the oldest first
        self._bytes = 0
        self._lock = Lock()
        self._is_stopped = False

    def __len__(self) -> int:
        return len(self._held)

    def add(self, client: str, protocol: ServerProtocol, size: int) -> None:
        """Count a response of `size` bytes. Call it just before the response is sent.

        Nothing counts on a connection that has ended. Its address may already be that of another.
        """
        with self._lock:
            if self._is_stopped or (end := watch_connection(protocol)) is None:
                return
            self._held[client] = size, end
            self._bytes += size
        end.add_done_callback(partial(self._note_end, client))

    def end(self, client: str) -> None:
        """Count no response on this connection any more: it has brought the next request."""
        with self._lock:
            size, end = self._held.pop(client, (0, None))
            self._bytes -= size
        if end is not None:
            end.cancel()

    def stop(self) -> None:
        """Count no response any more."""
        with self._lock:
            self._is_stopped = True
            clients = tuple(self._held)
        for client in clients:
            self.end(client)

    def tend(self) -> None:
        """Close the oldest connections above the limit, down to three quarters of it."""
        if self._bytes <= self._limit:
            return
        with self._lock:
            clients = self._choose_oldest()
        close_connections(clients)
        for client in clients:
            self.end(client)

    def _choose_oldest(self) -> set[str]:
        """Return the clients. The newest is never one of them: its response may be that large."""
        chosen: set[str] = set()
        excess = self._bytes - self._limit * 3 // 4
        for client in tuple(self._held)[:-1]:
            if excess <= 0:
                break
            chosen.add(client)
            excess -= self._held[client][0]
        return chosen

    def _note_end(self, client: str, end: Future) -> None:
        with self._lock:
            if client in self._held and self._held[client][1] is end:
                self._bytes -= self._held.pop(client)[0]


def close_connections(clients: Collection[str]) -> None:
    """Close the connections of this process with these clients, for both directions.

    granian does not show its sockets, so they are looked for among the open files.
    """
    for name in os.listdir(OPEN_FILES):
        with suppress(OSError):  # it was closed meanwhile, or is not connected
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                close_if_named(int(name), clients)


def close_if_named(descriptor: int, clients: Collection[str]) -> None:
    """Close the connection if its other end is one of the clients. Raises OSError."""
    # A copy: the number may belong to another file a moment later.
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        if name_peer(connection) in clients:
            connection.shutdown(socket.SHUT_RDWR)


def find_writable(clients: Collection[str]) -> set[str]:
    """Return which of the clients read: the kernel can take more for their connections."""
    writable = set()
    for name in os.listdir(OPEN_FILES):
        with suppress(OSError):  # it was closed meanwhile, or is not connected
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                with socket.socket(fileno=os.dup(int(name))) as connection:
                    client = name_peer(connection)
                    if client in clients and is_writable(connection):
                        writable.add(client)
    return writable


def is_writable(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))


def name_peer(connection: socket.socket) -> str:
    """Return the address of the other end as granian names it: 10.0.0.7:5555 or [::1]:5555."""
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return ""
    host, port = connection.getpeername()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
