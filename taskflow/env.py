"""Typed access to environment variables.

The program does not start if a value cannot be parsed, or if an unknown TASKFLOW_ variable is set.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from taskflow.db.sqlite.files import PRIVATE_FILE, make_private_directory, protect

TRUE, FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}
_names_read: set[str] = set()  # by the functions below


def read_text(name: str, default: str = "") -> str:
    """Return the value of the variable without white space around it."""
    _names_read.add(name)
    return os.environ.get(name, default).strip()


def read_boolean(name: str, *, default: bool) -> bool:
    """Return the value as a boolean. Raises ImproperlyConfigured for other values."""
    value = read_text(name, str(default)).lower()
    if value not in TRUE | FALSE:
        raise ImproperlyConfigured(f"{name}={value!r} is not a boolean. Set it to 1 or 0.")
    return value in TRUE


MAX_LIMIT = 1_000_000_000


def read_integer(name: str, *, default: int, maximum: int = MAX_LIMIT) -> int:
    """Return the value as a number from 0 to `maximum`. Raises ImproperlyConfigured for others."""
    value = read_text(name, str(default))
    if not (value.isascii() and value.isdigit() and len(value) < 11 and int(value) <= maximum):
        raise ImproperlyConfigured(f"{name}={value!r} is not a number from 0 to {maximum}.")
    return int(value)


def read_limit(name: str, *, minimum: int = 0) -> int | None:
    """Return the value as a whole number, or None if it is not set or empty.

    Raises ImproperlyConfigured for other values, and for a number below the minimum.
    """
    value = read_text(name)
    if value and not value.isdecimal():
        raise ImproperlyConfigured(
            f"{name}={value!r} is not a number. Set it to 1000, or leave it."
        )
    if value and not minimum <= int(value) <= MAX_LIMIT:
        raise ImproperlyConfigured(
            f"{name}={value!r} is not a number from {minimum} to {MAX_LIMIT}."
        )
    return int(value) if value else None


def read_list(name: str, default: str = "") -> list[str]:
    """Return the parts of a comma-separated list, without empty ones."""
    return [part.strip() for part in read_text(name, default).split(",") if part.strip()]


PROXIES = (
    "the addresses or networks from which your proxies connect, separated by commas, such as"
    " 127.0.0.1,::1 or 10.0.0.0/8. Leave it out if there is no proxy"
)


def read_networks(name: str, what: str = PROXIES) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return the addresses and networks of a comma-separated list.

    Raises ImproperlyConfigured for anything else, with what to write.
    """
    try:
        return tuple(ip_network(part) for part in read_list(name))
    except ValueError as error:
        raise ImproperlyConfigured(
            f"{name}={read_text(name)!r} does not name networks ({error}). Set it to {what}."
        ) from None


def read_contacts(name: str) -> tuple[str, ...]:
    """Return the URIs of a comma-separated list to which a weakness can be reported.

    RFC 9116 allows mailto:, https: and tel:. Raises ImproperlyConfigured for anything else.
    """
    contacts = tuple(read_list(name))
    for contact in contacts:
        if not re.fullmatch(r"(mailto:[^\s@]+@[^\s@]+|https://\S+|tel:\+[0-9-]+)", contact):
            raise ImproperlyConfigured(
                f"{name}={contact!r} is no URI to contact. Write mailto:security@example.com,"
                " https://example.com/report or tel:+49-30-123456."
            )
    return contacts


def read_choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    """Return one of `choices`, which are in capitals. Raises ImproperlyConfigured for others."""
    value = read_text(name, default).upper()
    if value not in choices:
        raise ImproperlyConfigured(
            f"{name}={value!r} is not allowed. Set it to one of {', '.join(choices)}."
        )
    return value


def find_data_directory(code: Path) -> Path:
    """Return where the data is unless TASKFLOW_DATA_DIR names another directory.

    That is `var` in a checkout. An installed package is replaced by an upgrade, so that its data is
    in the home directory, where the specification of XDG says.
    """
    if (code / "manage.py").exists():
        return code / "var"
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "taskflow"


def make_directory(path: Path) -> None:
    """Create the directory with access for its owner only. An existing one is not changed."""
    try:
        make_private_directory(path)
    except OSError as error:
        raise ImproperlyConfigured(
            f"The directory {path} cannot be created ({error.strerror})."
        ) from None


def read_or_create_secret(name: str, path: Path) -> str:
    """Return the value of `name`, or a random one that is created once and stored in `path`.

    Only its owner can read the file. Raises ImproperlyConfigured if it cannot be read or written.
    """
    if value := read_text(name):
        return value
    make_directory(path.parent)
    try:
        if not path.exists():
            _create_secret(path)
        protect(path, PRIVATE_FILE)
        return path.read_text()
    except OSError as error:
        raise ImproperlyConfigured(
            f"The secret key cannot be stored in {path} ({error.strerror})."
            f" Make the file readable and writable, or set {name}."
        ) from None


def _create_secret(path: Path) -> None:
    """Store a random secret, unless another process has done so. Nobody reads a part of it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)  # only its owner can read it
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(50))
        with suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)


def refuse_unknown_names() -> None:
    """Raise ImproperlyConfigured for a TASKFLOW_ name that no setting has read so far."""
    unknown = sorted(k for k in os.environ if k.startswith("TASKFLOW_") and k not in _names_read)
    if unknown:
        raise ImproperlyConfigured(
            f"Unknown setting {', '.join(unknown)}. Settings: {', '.join(sorted(_names_read))}."
        )
