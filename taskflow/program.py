"""How the command that runs now is typed, for messages that name another one."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from shlex import quote

MODULE = "command_line.py"  # of `python -m taskflow.command_line`


def name_program() -> str:
    """Return what has to be typed before the name of a command, in this directory and shell.

    In a checkout `.venv/bin/python manage.py`, of an installed package `taskflow`, or the path of
    that program where the shell does not find it by its name, as with `pipx run`.
    """
    program = sys.argv[0]
    if Path(program).name == "manage.py":
        return f"{_shorten(sys.executable)} {quote(program)}"
    if Path(program).name == MODULE:
        return f"{_shorten(sys.executable)} -m taskflow.command_line"
    name = Path(program).name
    found = shutil.which(name)
    is_found = found is not None and Path(found).resolve() == Path(program).resolve()
    return name if is_found else _shorten(program)


def _shorten(path: str) -> str:
    """Return the path of a program, relative to the current directory if it is below it."""
    relative = os.path.relpath(path)
    return quote(path if relative.startswith(os.pardir) or os.sep not in relative else relative)
