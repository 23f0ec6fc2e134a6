"""The first page of the admin, the same for everybody. Administrators also see their tenant."""

from __future__ import annotations

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from accounts.admin.recorded import get_actor
from accounts.models import User, UserKind
from taskflow.audit.actor import Actor
from tasks.admin.home.activity import (
    MAX_CLAIMS,
    SHOWN_CLAIMS,
    load_claims,
    load_feed,
    load_mentions,
)
from tasks.admin.home.sections import load_my_projects, load_sections
from tasks.admin.start_here import list_first_steps
from tasks.models import Project


def build_home(request: HttpRequest, context: dict[str, object]) -> dict[str, object]:
    """Return the context of the template. The number of queries does not depend on the rows."""
    actor = get_actor(request)
    projects = load_my_projects(actor)
    claims, claims_address, is_cut = load_claims(actor)
    feed, is_feed_short = load_feed(actor)
    return context | {
        "title": _("My work"),
        "first_steps": [] if projects else list_first_steps(actor),
        "projects": projects,
        "sections": load_sections(actor, projects),
        "mentions": [] if actor.is_operator else load_mentions(actor),
        "claims": claims[:SHOWN_CLAIMS],
        "has_more_claims": len(claims) > SHOWN_CLAIMS,
        "claims_address": claims_address,
        # Older claims, and events, that the user can see may be left out.
        "max_claims": MAX_CLAIMS if is_cut and len(claims) <= SHOWN_CLAIMS else None,
        "feed": feed,
        "is_feed_short": is_feed_short,
        "cards": count_people(actor) if actor.is_staff else [],
    }


def count_people(actor: Actor) -> list[tuple[str, int, str]]:
    """Return the numbers of the tenant, each with its list, for administrators. Three queries."""
    people = reverse("admin:accounts_user_changelist")
    projects = reverse("admin:tasks_project_changelist")
    active = User.objects.active()
    return [
        (
            _("People"),
            active.filter(kind=UserKind.HUMAN).count(),
            f"{people}?kind__exact=human&is_active__exact=1",
        ),
        (
            _("Agents"),
            active.filter(kind=UserKind.AGENT).count(),
            f"{people}?kind__exact=agent&is_active__exact=1",
        ),
        (_("Projects"), Project.objects.visible_to(actor.viewer).count(), projects),
    ]
