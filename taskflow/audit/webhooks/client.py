"""Sends one HTTP request to a host that a tenant has chosen.

The name is resolved once, all of its addresses are judged, and the connection goes to one of them,
so that an answer of DNS which changes in between has no effect. TLS checks the name. Redirects are
not followed, no proxy of the environment is used, and the whole exchange has one deadline.
"""

from __future__ import annotations

import io
import socket
import ssl
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Protocol

from taskflow.audit.webhooks.addresses import Address, Network, is_in, may_connect, parse_address
from taskflow.audit.webhooks.targets import BadTarget, Target, parse_target

TIMEOUT_SECONDS = 15.0  # for the name, the connection, TLS, the request and the response together
MAX_RESPONSE_BYTES = 65_536  # of head and body; the rest is not read
SHOWN_BYTES = 1024  # of the body


@dataclass(frozen=True)
class Answer:
    """What a request has led to.

    `status` is None if there was no response, and `error` then says why. `text` is the start of the
    body.
    """

    seconds: float
    status: int | None = None
    text: str = ""
    error: str = ""

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class SendError(Exception):
    """The request was not answered. The message is a sentence for the owner of the webhook."""


def post(
    url: str, body: bytes, headers: Mapping[str, str], allowed: Collection[Network] = ()
) -> Answer:
    """Send a POST. Never raises, and takes little more than TIMEOUT_SECONDS.

    `allowed` are networks of the operator, which may be private and reached without TLS.
    """
    started = time.monotonic()
    deadline = started + TIMEOUT_SECONDS
    try:
        target = parse_target(url, allowed)
        status, text = _exchange(target, body, headers, allowed, deadline)
    except BadTarget as error:
        return Answer(time.monotonic() - started, error=f"The URL {error}.")
    except SendError as error:
        return Answer(time.monotonic() - started, error=str(error))
    except TimeoutError:
        error_text = f"There was no response within {TIMEOUT_SECONDS:.0f} seconds."
        return Answer(time.monotonic() - started, error=error_text)
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or error.reason or type(error).__name__
        return Answer(time.monotonic() - started, error=f"TLS failed: {reason}.")
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        return Answer(time.monotonic() - started, error=f"The request failed: {reason}.")
    return Answer(time.monotonic() - started, status, text)


def _exchange(
    target: Target,
    body: bytes,
    headers: Mapping[str, str],
    allowed: Collection[Network],
    deadline: float,
) -> tuple[int, str]:
    """Send the request. Return the status and the start of the body."""
    addresses = resolve(target, deadline)
    check_addresses(addresses, allowed, is_secure=target.is_secure)
    connection = HTTPConnection(target.host, target.port)
    wire = _connect(addresses, target, deadline)
    connection.sock = _Wire(wire, deadline)
    try:
        connection.request(
            "POST", target.path, body, {"Host": target.authority, "Connection": "close", **headers}
        )
        response = connection.getresponse()
        shown = b""
        with suppress(OSError, HTTPException):  # the status counts, whatever happens to the body
            shown = response.read(SHOWN_BYTES)
        return response.status, shown.decode("utf-8", "replace").replace("\0", "\ufffd")
    finally:
        connection.close()
        wire.close()


# ---- addresses ----------------------------------------------------------------------------------


def resolve(target: Target, deadline: float) -> list[Address]:
    """Return the addresses of the host. Raises SendError, and TimeoutError after the deadline.

    The resolver of the system cannot be interrupted. So a thread waits for it, and is left behind
    when it takes too long.
    """
    literal = parse_address(target.host)
    if literal is not None:
        return [literal]
    results: SimpleQueue[list[Address] | OSError] = SimpleQueue()
    Thread(target=_look_up, args=(target, results), name="resolver", daemon=True).start()
    try:
        result = results.get(timeout=_left_until(deadline))
    except Empty:
        raise TimeoutError from None
    if isinstance(result, OSError):
        raise SendError(f"The name {target.host} cannot be resolved.")
    return result


def _look_up(target: Target, results: SimpleQueue[list[Address] | OSError]) -> None:
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        results.put(error)
        return
    except UnicodeError:
        results.put(OSError())
        return
    addresses = (parse_address(str(entry[4][0])) for entry in found)
    results.put([address for address in dict.fromkeys(addresses) if address is not None])


def check_addresses(
    addresses: Collection[Address], allowed: Collection[Network], *, is_secure: bool
) -> None:
    """Raise SendError unless the webhook may be sent to each of the addresses.

    One bad address is enough to refuse all: otherwise chance would decide.
    """
    if not addresses or not all(may_connect(address, allowed) for address in addresses):
        raise SendError("The host has an address of a private network, which is not allowed.")
    if not is_secure and not all(is_in(address, allowed) for address in addresses):
        raise SendError("Without https, only hosts are allowed that the operator lists.")


# ---- the connection -----------------------------------------------------------------------------


def _connect(addresses: Collection[Address], target: Target, deadline: float) -> socket.socket:
    """Return a connection to the first address that accepts one. TLS checks the name of the host.

    Raises the error of the last address.
    """
    error: OSError = TimeoutError()
    for address in addresses:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(_left_until(deadline))
            plain.connect((str(address), target.port))
            if not target.is_secure:
                return plain
            plain.settimeout(_left_until(deadline))
            return ssl.create_default_context().wrap_socket(plain, server_hostname=target.host)
        except OSError as failure:
            plain.close()
            error = failure
    raise error


def _left_until(deadline: float) -> float:
    """Return the seconds until the deadline. Raises TimeoutError after it."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Receives(Protocol):
    def settimeout(self, value: float | None) -> None: ...

    def recv(self, size: int) -> bytes: ...


class _Wire:
    """What HTTPConnection needs of a socket, with a deadline for everything together."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._socket, self._deadline = connection, deadline

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(_left_until(self._deadline))
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self._socket, self._deadline))

    def close(self) -> None:
        pass  # _exchange() closes the socket


class _Incoming(io.RawIOBase):
    """The bytes of a response, until the deadline or MAX_RESPONSE_BYTES."""

    def __init__(self, connection: _Receives, deadline: float) -> None:
        self._socket, self._deadline = connection, deadline
        self._left = MAX_RESPONSE_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # of a BufferedReader
        if self._left == 0:
            return 0
        self._socket.settimeout(_left_until(self._deadline))
        data = self._socket.recv(min(len(buffer), self._left))
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)
