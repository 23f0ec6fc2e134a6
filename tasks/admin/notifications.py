"""The inbox: the notifications of the user, and what the user wants to get.

Nothing here shows or changes the notifications of another user.
"""

from __future__ import annotations

from collections.abc import Callable

from django import forms
from django.contrib import admin, messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin.rights import get_actor
from taskflow.admin.refusals import list_sentences
from taskflow.admin.site import Select
from taskflow.audit.actor import Actor
from taskflow.http.converters import is_id
from taskflow.http.errors import Problem
from tasks.actions import notifications as actions
from tasks.models import NotificationPreference
from tasks.models.notifications import MAX_BADGE, Digest, NotificationKind, count_unread
from tasks.queries.notifications import describe_notification, list_notifications

PAGE_SIZE = 50
DIGESTS = [
    (Digest.OFF, gettext_lazy("No e-mails")),
    (Digest.DAILY, gettext_lazy("Every morning, if there is something new")),
    (Digest.WEEKLY, gettext_lazy("On Monday mornings, if there is something new")),
]
KINDS = [
    (NotificationKind.ASSIGNED, gettext_lazy("A task was assigned to me")),
    (NotificationKind.MENTIONED, gettext_lazy("Somebody mentioned me")),
    (NotificationKind.UNBLOCKED, gettext_lazy("A task of mine is no longer blocked")),
    (NotificationKind.OVERDUE, gettext_lazy("A task of mine is overdue")),
    (NotificationKind.HANDED_BACK, gettext_lazy("An agent gave a task back to me")),
    (NotificationKind.NEEDS_INPUT, gettext_lazy("An agent needs my input")),
]


class PreferencesForm(forms.Form):
    """What the user wants to get. The form names what is wanted; muted kinds are stored."""

    digest = forms.ChoiceField(label=gettext_lazy("E-mail"), choices=DIGESTS, widget=Select)
    kinds = forms.MultipleChoiceField(
        label=gettext_lazy("Notify me when"),
        choices=KINDS,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )

    def read_values(self) -> dict[str, object]:
        """Return the values as the API takes them."""
        wanted = self.cleaned_data["kinds"]
        muted = [str(kind) for kind in NotificationKind if kind not in wanted]
        return {"digest": self.cleaned_data["digest"], "muted": muted}


def inbox_page(request: HttpRequest) -> HttpResponse:
    """Show the inbox, or do what the button of a form names."""
    actor = get_actor(request)
    if request.method == "POST":
        handler = HANDLERS.get(request.POST.get("action", ""))
        return handler(request, actor) if handler else go_back(request)
    return show_inbox(request, actor)


def show_inbox(
    request: HttpRequest, actor: Actor, form: PreferencesForm | None = None
) -> HttpResponse:
    """Show a page of the inbox: what is unread, or all with `?all=1`."""
    shows_all = request.GET.get("all") == "1"
    rows = list_notifications(actor).order_by("-id")
    if not shows_all:
        rows = rows.filter(read_at__isnull=True)
    page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    entries = [(row, describe_notification(row)) for row in page]
    context = {
        **admin.site.each_context(request),
        "title": _("Inbox"),
        "entries": entries,
        "newest_id": max((row.pk for row, _text in entries), default=None),
        "page": page,
        "shows_all": shows_all,
        "form": form or build_form(actor),
    }
    return TemplateResponse(request, "admin/inbox.html", context)


def build_form(actor: Actor) -> PreferencesForm | None:
    """Return the form of the preferences; None for an operator, who has no inbox in the tenant."""
    if actor.member is None:
        return None
    stored = NotificationPreference.of(actor.member)
    kinds = [kind for kind in NotificationKind if kind not in stored.muted]
    return PreferencesForm(initial={"digest": stored.digest, "kinds": kinds})


def show_badge(request: HttpRequest) -> str:
    """Return the number of unread notifications for the menu; nothing if there are none.

    One statement, which reads an index.
    """
    actor = get_actor(request)
    if not isinstance(actor, Actor) or actor.member is None:
        return ""
    count = count_unread(actor.viewer)
    return "" if not count else f"{MAX_BADGE - 1}+" if count >= MAX_BADGE else str(count)


# ---- what the buttons do ------------------------------------------------------------------------


def mark_one(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Mark the notification as read that the button names."""
    text = request.POST.get("notification", "")
    row = list_notifications(actor).filter(pk=text).first() if is_id(text) else None
    if row is not None:
        actions.mark_as_read(actor, row)
    return go_back(request)


def mark_all(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Mark all as read up to the newest one that the page has shown."""
    text = request.POST.get("up_to", "")
    count = actions.mark_all_as_read(actor, int(text)) if is_id(text) else 0
    sentence = ngettext(
        "%(count)d notification is marked as read.",
        "%(count)d notifications are marked as read.",
        count,
    )
    messages.success(request, sentence % {"count": count})
    return go_back(request)


def store_preferences(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Store the preferences, or show the form again with the reason."""
    form = PreferencesForm(request.POST)
    if form.is_valid():
        try:
            actions.change_preferences(actor, form.read_values())
        except Problem as problem:
            for sentence in list_sentences(problem):
                form.add_error("digest", sentence)
        else:
            messages.success(request, _("Your preferences are stored."))
            return go_back(request)
    return show_inbox(request, actor, form)


HANDLERS: dict[str, Callable[[HttpRequest, Actor], HttpResponse]] = {
    "mark_one": mark_one,
    "mark_all": mark_all,
    "store_preferences": store_preferences,
}


def go_back(request: HttpRequest) -> HttpResponse:
    """Return to the same part of the inbox."""
    suffix = "?all=1" if request.GET.get("all") == "1" else ""
    return HttpResponseRedirect(reverse("admin_inbox") + suffix)


view = admin.site.admin_view(inbox_page)
