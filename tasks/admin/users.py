"""The admin page of users, extended by offboarding."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.actions.erasure import erase_user
from accounts.admin import users
from accounts.admin.fields import FormValues, set_messages
from accounts.admin.recorded import get_actor
from accounts.models import User
from taskflow.admin.refusals import refusal_as_html
from taskflow.admin.site import action
from taskflow.audit.actor import Actor
from taskflow.http.converters import is_id
from taskflow.http.errors import Problem
from taskflow.http.unavailable import Contended
from tasks.actions.offboarding import Offboarding, count_offboarding, offboard_user
from tasks.admin.labels import USER_COLUMN, RowChoiceField, offer_rows
from tasks.admin.new_agent import add_agent

admin.site.unregister(User)


class OffboardingForm(forms.Form):
    hand_over_to: Any = RowChoiceField(
        USER_COLUMN,
        "people",
        required=False,
        placeholder=_("Nobody"),
    )
    erase = forms.BooleanField(
        required=False,
        label=_("Also erase the name, handle and e-mail permanently, events included"),
    )

    def __init__(self, actor: Actor, *args: Any) -> None:
        super().__init__(*args)
        offer_rows(self, actor)
        set_messages(self.fields.values())


@admin.register(User)
class UserAdminWithOffboarding(users.UserAdmin):
    actions_list = ["invite", "add_agent"]
    actions_detail = ["offboard"]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.offboarding_view)
        name = "accounts_user_offboarding"
        return [
            path("<int:user_id>/offboarding/", view, name=name),
            path(
                "new-agent/", self.admin_site.admin_view(add_agent), name="accounts_user_new_agent"
            ),
            *super().get_urls(),
        ]

    @action(description=_("Invite by e-mail"))
    def invite(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:tasks_invitation_add"))

    @action(description=_("Add agent"))
    def add_agent(self, request: HttpRequest) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:accounts_user_new_agent"))

    @action(description=_("Offboard"))
    def offboard(self, request: HttpRequest, object_id: str) -> HttpResponse:
        if not is_id(object_id):
            raise Http404
        return HttpResponseRedirect(reverse("admin:accounts_user_offboarding", args=[object_id]))

    def offboarding_view(self, request: HttpRequest, user_id: int) -> HttpResponse:
        actor = get_actor(request)
        user = get_object_or_404(User.objects.visible_to(actor.viewer), pk=user_id)
        form = OffboardingForm(actor, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            try:
                with transaction.atomic():
                    self._offboard(request, user, form.cleaned_data)
                return HttpResponseRedirect(reverse("admin:accounts_user_change", args=[user.pk]))
            except Contended:  # the whole request is answered again
                raise
            except Problem as problem:
                form.add_error(None, refusal_as_html(problem))
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Offboard %(user)s") % {"user": user},
            "form": form,
            "counts": _name_counts(count_offboarding(actor, user)),
            "opts": self.opts,
            "original": user,
        }
        return TemplateResponse(request, "admin/offboarding.html", context)

    def _offboard(self, request: HttpRequest, user: User, values: FormValues) -> None:
        result = offboard_user(get_actor(request), user, values["hand_over_to"])
        if values["erase"]:
            erase_user(get_actor(request), user)
        messages.success(request, _describe(result))


def _name_counts(counts: dict[str, int]) -> list[tuple[str, int]]:
    """Return the numbers of count_offboarding() with what they are called on the page."""
    labels = {
        "projects": gettext("Projects, with those in the trash"),
        "tasks": gettext("Open tasks"),
        "pages": gettext("Pages, with those in the trash"),
        "shared_views": gettext("Shared views"),
        "private_views": gettext("Views that nobody else sees, which are deleted"),
        "agents": gettext("Active agents"),
        "memberships": gettext("Memberships of projects"),
        "tokens": gettext("Tokens"),
    }
    return [(label, counts[name]) for name, label in labels.items()]


def _describe(result: Offboarding) -> str:
    """Return the message that is displayed after offboarding."""
    return gettext(
        "%(user)s is offboarded: %(projects)d projects, %(tasks)d tasks, %(pages)d pages and"
        " %(views)d shared views handed over, %(unassigned)d tasks unassigned, %(deleted)d views"
        " that nobody else saw deleted, %(tokens)d tokens revoked."
    ) % {
        "user": result.user,
        "projects": len(result.projects_handed_over),
        "tasks": result.tasks_handed_over,
        "pages": result.pages_handed_over,
        "views": result.views_handed_over,
        "deleted": result.views_deleted,
        "unassigned": result.tasks_unassigned,
        "tokens": result.tokens_revoked,
    }
