"""The header `Prefer`, by which a client chooses what a response contains (RFC 7240)."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

RETURN_VALUES = frozenset({"representation", "minimal"})
# Of a new row as `return=minimal` shows it. Clients are generated from application/json alone, so
# that they expect the complete row.
MINIMAL_MEDIA_TYPE = "application/vnd.taskflow.minimal+json"


def read_return_preference(request: HttpRequest) -> str | None:
    """Return `representation` or `minimal` from `Prefer: return=…`, or None.

    Unknown preferences and values are ignored, as RFC 7240 requires. The first one counts.
    """
    given = request.META.get("HTTP_PREFER")
    if given is None:
        return None
    for preference in given.split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "return":
            value = value.strip().strip('"').lower()
            return value if value in RETURN_VALUES else None
    return None


def mark_applied(response: HttpResponse, preference: str) -> HttpResponse:
    """Add the header by which the client sees that its preference was followed."""
    response["Preference-Applied"] = f"return={preference}"
    return response
