"""Typed readers over the environment.

A value that cannot be read stops the start, and so does a TASKFLOW_ name that nobody reads.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from taskflow.db.sqlite.files import PRIVATE_FILE, make_private_directory, protect

TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}
_read: set[str] = set()


def text(name: str, default: str = "") -> str:
    _read.add(name)
    return os.environ.get(name, default).strip()


def boolean(name: str, *, default: bool) -> bool:
    value = text(name, str(default)).lower()
    if value not in TRUE | FALSE:
        raise ImproperlyConfigured(f"{name}={value!r}: write 1 or 0.")
    return value in TRUE


def words(name: str, default: str = "") -> list[str]:
    """A comma-separated list."""
    return [word.strip() for word in text(name, default).split(",") if word.strip()]


def choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    """One of `choices`, in capitals."""
    value = text(name, default).upper()
    if value not in choices:
        raise ImproperlyConfigured(f"{name}={value!r}: write one of {', '.join(choices)}.")
    return value


def make_directory(path: Path) -> None:
    """Make the directory for its owner alone. An existing one is left as it is."""
    try:
        make_private_directory(path)
    except OSError as error:
        raise ImproperlyConfigured(
            f"The directory {path} cannot be made ({error.strerror})."
        ) from None


def secret(name: str, path: Path) -> str:
    """The value of `name`, or one made once and kept in `path`, readable by its owner only."""
    if value := text(name):
        return value
    make_directory(path.parent)
    try:
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(50))
        protect(path, PRIVATE_FILE)
        return path.read_text()
    except OSError as error:
        raise ImproperlyConfigured(
            f"The secret key cannot be kept in {path} ({error.strerror})."
            f" Make it readable and writable, or set {name}."
        ) from None


def refuse_unknown_names() -> None:
    """Call when everything has been read."""
    unknown = sorted(k for k in os.environ if k.startswith("TASKFLOW_") and k not in _read)
    if unknown:
        raise ImproperlyConfigured(
            f"Unknown setting {', '.join(unknown)}. Known: {', '.join(sorted(_read))}."
        )
