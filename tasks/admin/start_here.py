"""The card “Start here” of the admin's first page: what to do while there is no project."""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from taskflow.audit.actor import Actor
from tasks.models import Project

Text = str | Promise


@dataclass(frozen=True)
class FirstStep:
    """A link to a page on which somebody begins, and a sentence about it."""

    title: Text
    sentence: Text
    address: str


def list_first_steps(actor: Actor) -> list[FirstStep]:
    """Return the steps of the card; none if there is a project that the actor can see. One query.

    Only administrators get those that other people may not take.
    """
    if Project.objects.visible_to(actor.viewer).exists():
        return []
    steps = [
        FirstStep(
            _("Create a project"),
            _("Tasks belong to a project. You become its owner, and add its members."),
            reverse("admin:tasks_project_add"),
        )
    ]
    if not actor.user.is_staff:
        return steps
    return [
        *steps,
        _people_step(),
        FirstStep(
            _("Add an agent"),
            _("A user of the kind “agent” is a program, which works with a token of its own."),
            reverse("admin:accounts_user_add"),
        ),
        FirstStep(
            _("Check the time zone"),
            _("Days and times are those of %(zone)s until you choose another time zone.")
            % {"zone": actor.tenant.time_zone},
            reverse("admin:accounts_tenant_change", args=[actor.tenant.pk]),
        ),
    ]


def _people_step() -> FirstStep:
    """Return the step that adds people: by invitation, which needs a mail server, or by hand."""
    if settings.SENDS_MAIL:
        return FirstStep(
            _("Invite people"),
            _("They get a mail with a link, and choose a password themselves."),
            reverse("admin:tasks_invitation_add"),
        )
    return FirstStep(
        _("Add people"),
        _("This installation sends no mail, so you choose their first password and tell it them."),
        reverse("admin:accounts_user_add"),
    )
