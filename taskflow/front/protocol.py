"""The part of granian's interface for requests (RSGI) that the front uses, as types."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

Headers = list[tuple[str, str]]
Environ = dict[str, object]
StartResponse = Callable[..., object]
# A WSGI application.
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class Future(Protocol):
    """A result of granian's own threads. Its callback is called with it."""

    def add_done_callback(self, callback: Callable[[Future], None], /) -> None: ...
    def cancel(self) -> bool: ...
    def cancelled(self) -> bool: ...
    def done(self) -> bool: ...
    def exception(self) -> BaseException | None: ...
    def result(self) -> bytes: ...


class StreamTransport(Protocol):
    """A response that is sent in parts. It ends when nothing refers to this object any more."""

    def send_bytes(self, data: bytes, /) -> object: ...


class ServerProtocol(Protocol):
    """The connection of one request."""

    def __aiter__(self) -> BodyStream: ...
    def client_disconnect(self) -> object: ...  # see watch_connection()
    def response_bytes(self, status: int, headers: Headers, body: bytes, /) -> None: ...
    def response_file(self, status: int, headers: Headers, file: str, /) -> None: ...
    def response_stream(self, status: int, headers: Headers, /) -> StreamTransport: ...


def watch_connection(protocol: ServerProtocol) -> Future | None:
    """Return a result that comes when the connection ends, or None if it has ended.

    For a connection that has ended, granian returns an object that takes no callback.
    """
    end: Any = protocol.client_disconnect()
    watch: Future | None = end if hasattr(end, "add_done_callback") else None
    return watch


class ClosingProtocol:
    """The connection of one request, which ends with the response."""

    __slots__ = ("protocol",)
    HEADER = ("Connection", "close")

    def __init__(self, protocol: ServerProtocol) -> None:
        self.protocol = protocol

    def __aiter__(self) -> BodyStream:
        return self.protocol.__aiter__()

    def client_disconnect(self) -> object:
        return self.protocol.client_disconnect()

    def response_bytes(self, status: int, headers: Headers, body: bytes, /) -> None:
        self.protocol.response_bytes(status, [*headers, self.HEADER], body)

    def response_file(self, status: int, headers: Headers, file: str, /) -> None:
        self.protocol.response_file(status, [*headers, self.HEADER], file)

    def response_stream(self, status: int, headers: Headers, /) -> StreamTransport:
        return self.protocol.response_stream(status, [*headers, self.HEADER])


class BodyStream(Protocol):
    def __anext__(self) -> Future: ...


class ServerHeaders(Protocol):
    """Headers by their names in lower case."""

    def __len__(self) -> int: ...
    def items(self) -> list[tuple[str, str]]: ...
    def keys(self) -> list[str]: ...


class ServerScope(Protocol):
    """The head of one request."""

    @property
    def authority(self) -> str | None: ...
    @property
    def client(self) -> str: ...
    @property
    def headers(self) -> ServerHeaders: ...
    @property
    def http_version(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query_string(self) -> str: ...
    @property
    def scheme(self) -> str: ...
    @property
    def server(self) -> str: ...


class Watcher(Protocol):
    """A request, as granian passes it on."""

    @property
    def proto(self) -> ServerProtocol: ...
    @property
    def scope(self) -> ServerScope: ...
