"""Responses that are files: written completely inside the transaction, and sent part by part."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from typing import TextIO

from django.http import FileResponse, HttpResponse

MAX_BYTES_IN_MEMORY = 1024 * 1024  # a longer file is written to the disk


class WrittenFile(FileResponse):
    """A streamed response that is complete before it is sent: sending it reads no database."""

    block_size = 64 * 1024


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
    size = file.tell()
    file.seek(0)
    if size > MAX_BYTES_IN_MEMORY:
        return WrittenFile(file, content_type=content_type, as_attachment=True, filename=name)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    with file:
        return HttpResponse(file.read(), content_type=content_type, headers=headers)
