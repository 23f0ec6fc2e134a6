"""Files that commands write: complete or not at all, and readable by their owner only."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import FrameType
from typing import BinaryIO, cast

from django.core.management.base import CommandError


@contextmanager
def write_whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that gets its name when all of it is on the disk, and not before.

    Until then it has a temporary name in the same folder, which is removed when anything fails,
    SIGTERM and SIGHUP included. Raises CommandError when `path` exists or cannot be written.
    """
    if os.path.lexists(path):
        raise CommandError(f"{path}: File exists. Name a new file.")
    try:
        with _exiting_on_signals(), _temporary_beside(path) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
            _sync_folder(path.parent)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}. Nothing was written.") from None


@contextmanager
def _temporary_beside(path: Path) -> Iterator[BinaryIO]:
    # Its mode is 0600 from the start.
    file = NamedTemporaryFile(  # noqa: SIM115 - closed below, before its name is removed
        dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
    )
    try:
        with file:
            yield cast(BinaryIO, file)
    finally:
        with suppress(FileNotFoundError):  # which is so when it has its final name
            os.unlink(file.name)


def _sync_folder(folder: Path) -> None:
    """Keep the new name through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _exiting_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise SystemExit, so that what was begun is cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    former = {number: signal.signal(number, _exit) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _exit(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
