"""/.well-known/security.txt (RFC 9116): to whom a weakness of this installation is reported."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

# RFC 9116 recommends less than a year. The page is computed, so that it never expires.
LIFETIME = timedelta(days=90)


@require_safe
def security_txt(request: HttpRequest) -> HttpResponse:
    """Return the page. Raises Http404 without TASKFLOW_SECURITY_CONTACT."""
    if not settings.SECURITY_CONTACT:
        raise Http404
    lines = [f"Contact: {contact}" for contact in settings.SECURITY_CONTACT]
    lines += [f"Expires: {find_expiry(timezone.now()):%Y-%m-%dT%H:%M:%SZ}"]
    lines += ["Preferred-Languages: en", f"Canonical: {find_canonical(request)}"]
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; charset=utf-8")


def find_expiry(now: datetime) -> datetime:
    """Return the time up to which the page is valid: a midnight, so that it changes once a day."""
    day = now.astimezone(UTC) + LIFETIME
    return day.replace(hour=0, minute=0, second=0, microsecond=0)


def find_canonical(request: HttpRequest) -> str:
    """Return the URL of the page on the host of the installation, not on that of a tenant."""
    return f"{request.scheme}://{settings.DOMAIN}{request.path}"
