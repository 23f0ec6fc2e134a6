"""TASKFLOW_EMAIL_URL and TASKFLOW_EMAIL_FROM as settings of Django.

This module reads no settings, because the settings import it. No error contains the URL, which may
contain a password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.validators import validate_email

NAME = "TASKFLOW_EMAIL_URL"
BACKENDS = "django.core.mail.backends"
SUBMISSION_PORT, SMTPS_PORT = 587, 465
SENDER = re.compile(r'(?:"[^"\\\r\n]*" *|[^"<>@,;:\\\r\n]*)<(?P<address>[^<>]+)>|(?P<bare>[^<>]+)')
STARTTLS = {"true": True, "false": False}
EXAMPLES = (
    "Set it to smtp://user:password@host:587, smtps://user:password@host, console:, "
    "file:///directory or none:."
)


@dataclass(frozen=True)
class MailSettings:
    """How mails are sent. The fields have the meaning of Django's settings of these names."""

    email_backend: str
    sends_mail: bool = True
    email_host: str = ""
    email_port: int = 0
    email_host_user: str = ""
    email_host_password: str = ""
    email_use_tls: bool = False
    email_use_ssl: bool = False
    email_file_path: str = ""

    def __repr__(self) -> str:
        return f"MailSettings({self.email_backend}, {self.email_host}:{self.email_port})"


def parse_email_url(url: str) -> MailSettings:
    """Return the settings that the URL stands for. Raises ImproperlyConfigured for others."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _error("cannot be parsed") from None
    if parts.scheme in ("smtp", "smtps"):
        return _parse_smtp(parts, port)
    if parts.scheme == "file":
        return _parse_file(parts)
    if parts.scheme in ("console", "none") and not (parts.netloc or parts.path or parts.query):
        is_console = parts.scheme == "console"
        backend = f"{BACKENDS}.{'console' if is_console else 'dummy'}.EmailBackend"
        return MailSettings(backend, sends_mail=is_console)
    raise _error("has no known scheme, or has more than its scheme allows")


def parse_sender(text: str) -> str:
    """Return the value of TASKFLOW_EMAIL_FROM if it is one address, with or without a name.

    Raises ImproperlyConfigured for others.
    """
    match = SENDER.fullmatch(text)
    try:
        validate_email(match and (match["address"] or match["bare"]))
    except ValidationError:
        raise ImproperlyConfigured(
            f"TASKFLOW_EMAIL_FROM={text!r} is not an address."
            " Set it to taskflow@example.org or to TaskFlow <taskflow@example.org>."
        ) from None
    return text


def _parse_smtp(parts: SplitResult, port: int | None) -> MailSettings:
    """A password is never sent without encryption, unless the URL says starttls=false."""
    is_smtps = parts.scheme == "smtps"
    if not parts.hostname or parts.path.strip("/") or parts.fragment:
        raise _error("does not name a host alone")
    port = port or (SMTPS_PORT if is_smtps else SUBMISSION_PORT)
    has_password = bool(parts.username or parts.password)
    if has_password and not (parts.username and parts.password):
        raise _error("has a user without a password, or a password without a user")
    starttls = _parse_starttls(parts, default=has_password or port == SUBMISSION_PORT)
    return MailSettings(
        f"{BACKENDS}.smtp.EmailBackend",
        email_host=parts.hostname,
        email_port=port,
        email_host_user=unquote(parts.username or ""),
        email_host_password=unquote(parts.password or ""),
        email_use_tls=starttls and not is_smtps,
        email_use_ssl=is_smtps,
    )


def _parse_starttls(parts: SplitResult, *, default: bool) -> bool:
    query = parse_qs(parts.query, keep_blank_values=True)
    if query.keys() - {"starttls"} or (query and parts.scheme == "smtps"):
        raise _error("has an unknown parameter. Only smtp: has one, starttls=false")
    (value,) = query.get("starttls", [""])[-1:]
    if query and value not in STARTTLS:
        raise _error("has a starttls that is neither true nor false")
    return STARTTLS.get(value, default)


def _parse_file(parts: SplitResult) -> MailSettings:
    path = unquote(parts.path)
    if parts.netloc or parts.query or not Path(path).is_absolute() or "\0" in path:
        raise _error("does not name a directory by its absolute path")
    return MailSettings(f"{BACKENDS}.filebased.EmailBackend", email_file_path=path)


def _error(sentence: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{NAME} {sentence}. {EXAMPLES}")
