"""Keeps TaskFlow's files readable only by the user that it runs as."""

from __future__ import annotations

import os
import stat
from errno import ENOENT
from pathlib import Path

PRIVATE_FILE, PRIVATE_DIRECTORY = 0o600, 0o700
DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal")  # SQLite's files of one database


def make_private_directory(path: Path) -> None:
    """Create the directory with access for its owner only. An existing one is not changed."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)


_must_exist = False


def require_database() -> None:
    """Let protect_database() create no file from now on.

    For a server, which has found the database when it started: if the file is missing later, an
    empty database in its place would only hide this.
    """
    global _must_exist
    _must_exist = True


def identify_file(path: str) -> tuple[int, int] | None:
    """Return what distinguishes the file from others that have its path; None if it is missing."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def protect_database(path: str) -> None:
    """Create the database file with access for its owner only. SQLite gives its mode to the files
    beside it.

    Other users lose their access to files that exist. A path that is not a file, such as a
    directory or a device named by mistake, is not changed. Raises OSError.
    """
    if not os.path.exists(path):
        if _must_exist:
            raise FileNotFoundError(ENOENT, os.strerror(ENOENT), path)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE))
    for name in (f"{path}{suffix}" for suffix in DATABASE_SUFFIXES):
        if os.path.isfile(name):
            protect(Path(name), PRIVATE_FILE)


def protect(path: Path, mode: int) -> None:
    """Remove other users' access from a file or directory that exists and belongs to this user."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return  # another process has just closed the database
    if stat.S_IMODE(status.st_mode) & 0o077 and status.st_uid == os.geteuid():
        path.chmod(mode)
