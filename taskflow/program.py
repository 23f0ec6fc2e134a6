"""How the command that runs now is typed, for messages that name another one."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from shlex import quote

SCRIPT = "taskflow"  # of an installed package


def name_program() -> str:
    """Return what has to be typed before the name of a command, in this directory and shell.

    In a checkout `.venv/bin/python manage.py`, of an installed package `taskflow`, or the path of
    that program where the shell does not find it by its name, as with `pipx run`. Other programs,
    such as the server of another package, run no commands: then `python -m taskflow.command_line`.
    """
    program = sys.argv[0]
    name = Path(program).name
    if name == "manage.py":
        return f"{_shorten(sys.executable)} {quote(program)}"
    if name != SCRIPT:
        return f"{_shorten(sys.executable)} -m taskflow.command_line"
    found = shutil.which(name)
    is_found = found is not None and Path(found).resolve() == Path(program).resolve()
    return name if is_found else _shorten(program)


def _shorten(path: str) -> str:
    """Return the path of a program, relative to the current directory if it is below it."""
    relative = os.path.relpath(path)
    return quote(path if relative.startswith(os.pardir) or os.sep not in relative else relative)
