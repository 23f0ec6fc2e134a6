"""The page that shows administrators how much the tenant has, and how much it may have."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin.rights import get_actor
from taskflow.audit.actor import Actor
from taskflow.audit.quotas import read_usage

LABELS = {
    "projects": gettext_lazy("Projects"),
    "tasks": gettext_lazy("Tasks"),
    "comments": gettext_lazy("Comments"),
    "pages": gettext_lazy("Pages"),
    "tags": gettext_lazy("Tags"),
    "webhooks": gettext_lazy("Webhooks"),
    "views": gettext_lazy("Stored views"),
    "users": gettext_lazy("Active users"),
    "tokens": gettext_lazy("Tokens"),
    "text_bytes": gettext_lazy("Text in bytes"),
}


@dataclass(frozen=True)
class UsageLine:
    """A row of the page. `percent` is None without a limit."""

    label: str
    used: int
    limit: int | None

    @property
    def percent(self) -> int | None:
        return None if self.limit is None else min(100, self.used * 100 // max(self.limit, 1))


def usage_page(request: HttpRequest) -> HttpResponse:
    """Show the numbers of GET /tenant/usage, which are a few seconds old at most."""
    actor = get_actor(request)
    if not actor.is_staff:
        raise PermissionDenied(_("Only administrators of the tenant see its usage."))
    usage = read_usage(actor.tenant.pk)
    lines = [
        UsageLine(str(LABELS.get(name, name)), used, limit) for name, (used, limit) in usage.items()
    ]
    context = {
        **admin.site.each_context(request),
        "title": _("Usage of %(tenant)s") % {"tenant": actor.tenant.name},
        "lines": lines,
    }
    return TemplateResponse(request, "admin/usage.html", context)


class UsageRights:
    """Decides for whom the menu has the page, as an admin class does it for its own pages."""

    def has_view_permission(self, request: HttpRequest) -> bool:
        actor = get_actor(request)
        return isinstance(actor, Actor) and actor.is_staff


view = admin.site.admin_view(usage_page)
view.__dict__["model_admin"] = UsageRights()
