"""Responses that are files: written completely inside the transaction, and sent part by part."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from typing import IO, TextIO

from django.http import HttpResponse, StreamingHttpResponse

MAX_BYTES_IN_MEMORY = 1024 * 1024  # a longer file is written to the disk
PART_BYTES = 64 * 1024


class WrittenFile(StreamingHttpResponse):
    """A streamed response that is complete before it is sent: sending it reads no database."""

    is_written = True


def respond_with_text_file(
    write: Callable[[TextIO], None], *, codec: str, content_type: str, name: str
) -> HttpResponse | WrittenFile:
    """Call `write` with a text file, and return a response with this file as a download.

    The text is encoded while it is written. More than MAX_BYTES_IN_MEMORY are never in memory.
    Raises UnicodeEncodeError for a character that the codec does not have.
    """
    file = tempfile.SpooledTemporaryFile(MAX_BYTES_IN_MEMORY)  # noqa: SIM115 - closed when sent
    text = io.TextIOWrapper(file, encoding=codec, newline="")
    try:
        write(text)
        text.flush()
        text.detach()
    except BaseException:
        file.close()
        raise
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    size = file.tell()
    file.seek(0)
    if size <= MAX_BYTES_IN_MEMORY:
        with file:
            return HttpResponse(file.read(), content_type=content_type, headers=headers)
    headers["Content-Length"] = str(size)
    response = WrittenFile(_read_parts(file), content_type=content_type, headers=headers)
    response._resource_closers.append(file.close)  # type: ignore[attr-defined]
    return response


def _read_parts(file: IO[bytes]) -> Iterator[bytes]:
    while part := file.read(PART_BYTES):
        yield part
