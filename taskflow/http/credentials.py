"""The bearer token of a request."""

from __future__ import annotations

from collections.abc import Mapping


def read_bearer_token(environ: Mapping[str, object]) -> str | None:
    """Return the text after `Authorization: Bearer`, or None if the header has another scheme.

    Everything that needs the token reads it here. Otherwise one token, written with more spaces,
    could be one token for the one and another token for the other.
    """
    scheme, _, text = str(environ.get("HTTP_AUTHORIZATION", "")).partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None
