"""Who may read what TaskFlow keeps on disk: nobody but the user it runs as."""

from __future__ import annotations

import os
import stat
from pathlib import Path

PRIVATE_FILE, PRIVATE_DIRECTORY = 0o600, 0o700
BESIDE = ("", "-wal", "-shm", "-journal")  # SQLite's files of one database


def make_private_directory(path: Path) -> None:
    """Make the directory for its owner alone. An existing one is left as it is."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)


def protect_database(path: str) -> None:
    """Make the file of a database for its owner alone; SQLite gives its other files the same mode.

    Files that are there already lose the rights of others. Whatever is no file, such as a directory
    or a device that the address names by mistake, is left as it is. Raises OSError.
    """
    if not os.path.exists(path):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT, PRIVATE_FILE))
    for name in (f"{path}{suffix}" for suffix in BESIDE):
        if os.path.isfile(name):
            protect(Path(name), PRIVATE_FILE)


def protect(path: Path, mode: int) -> None:
    """Take the rights of others away from a file or directory that is there and is ours."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return  # another process has just closed the database
    if stat.S_IMODE(status.st_mode) & 0o077 and status.st_uid == os.geteuid():
        path.chmod(mode)
