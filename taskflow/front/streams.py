"""Responses that the application produces in parts."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterable

from taskflow.front.limits import FILE_SECONDS, MAX_STREAM_BYTES_IN_MEMORY
from taskflow.front.protocol import Headers, ServerProtocol


def send_stream(
    protocol: ServerProtocol, status: int, headers: Headers, parts: Iterable[bytes]
) -> None:
    """Send all parts, and close them as WSGI demands it.

    The thread is free when the application has produced the last part, however slowly the client
    reads: until then the parts are in memory, and those of a long response in a file, which the
    server sends without a thread.
    """
    try:
        produced = iter(parts)
        collected = bytearray()
        for part in produced:
            collected += part
            if len(collected) > MAX_STREAM_BYTES_IN_MEMORY:
                send_file(protocol, status, headers, bytes(collected), produced)
                return
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    protocol.response_bytes(status, headers, bytes(collected))


def send_file(
    protocol: ServerProtocol, status: int, headers: Headers, first: bytes, others: Iterable[bytes]
) -> None:
    """Write the parts to a temporary file and send it. The server opens it soon."""
    with tempfile.NamedTemporaryFile(prefix="taskflow-", delete=False) as file:
        remover = threading.Timer(FILE_SECONDS, os.unlink, [file.name])
        remover.daemon = True
        remover.start()
        file.write(first)
        file.writelines(others)
    protocol.response_file(status, headers, file.name)
