"""Write files completely or not at all, readable only by their owner."""

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
    """Yield a file for writing. It gets the name `path` only after all of it is on the disk.

    Until then it has a temporary name in the same directory. If anything fails, or on SIGTERM or
    SIGHUP, the temporary file is removed. Raises CommandError if `path` exists or cannot be
    written.
    """
    if os.path.lexists(path):
        raise CommandError(f"{path}: File exists. Name a new file.")
    try:
        with _exit_on_signals(), _open_temporary_file(path) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
            _sync_directory(path.parent)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}. Nothing was written.") from None


@contextmanager
def _open_temporary_file(path: Path) -> Iterator[BinaryIO]:
    # NamedTemporaryFile creates the file with mode 0600.
    file = NamedTemporaryFile(  # noqa: SIM115 - closed below, before its name is removed
        dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
    )
    try:
        with file:
            yield cast(BinaryIO, file)
    finally:
        with suppress(FileNotFoundError):  # raised if the file has its final name
            os.unlink(file.name)


def _sync_directory(folder: Path) -> None:
    """Write the directory to the disk, so that the new name is not lost in a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _exit_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise SystemExit, so that `finally` blocks run."""
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
