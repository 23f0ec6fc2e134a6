"""The event log, read-only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.contrib import admin
from django.contrib.admin import AllValuesFieldListFilter, SimpleListFilter
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.rights import RuledAdmin, get_actor
from accounts.models import User
from taskflow.admin.site import AutocompleteSelectFilter, display
from taskflow.audit.event_words import name_type, name_verb
from taskflow.audit.history import (
    USERS_OF_EVENT,
    HistoryEntry,
    describe_actor,
    read_history,
)
from taskflow.audit.models import Event
from taskflow.audit.visibility import select_log


class DayFilter(SimpleListFilter):
    title = _("day")
    parameter_name = "day"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("today", gettext("Today"))]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[Event]
    ) -> models.QuerySet[Event]:
        """Return the events of the tenant's day, which began at its midnight."""
        if self.value() != "today":
            return queryset
        midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
        return queryset.filter(created_at__gte=midnight)


class TypeFilter(AllValuesFieldListFilter):
    """Offers the types that events have, by their names."""

    name: Callable[[str], str] = staticmethod(name_type)

    def choices(self, changelist: Any) -> Iterator[Any]:
        for choice in super().choices(changelist):
            value, space, count = str(choice["display"]).partition(" (")  # with facets
            is_value = value in self.lookup_choices
            yield choice | {"display": self.name(value) + space + count} if is_value else choice


class VerbFilter(TypeFilter):
    name = staticmethod(name_verb)


def address_of_todays_events(user: User) -> str:
    """Return the address of the list of the events that this user has made today."""
    address = reverse("admin:audit_event_changelist")
    return f"{address}?actor__id__exact={user.pk}&day=today"


@admin.register(Event)
class EventAdmin(RuledAdmin):
    list_display = ["created_at", "show_who", "show_what", "subject_id", "show_via", "request_id"]
    list_filter = [
        DayFilter,
        ("actor", AutocompleteSelectFilter),
        "via",
        ("subject_type", TypeFilter),
        ("verb", VerbFilter),
    ]
    list_filter_submit = True
    list_select_related = USERS_OF_EVENT
    search_fields = ["request_id", "verb", "subject_type", "actor__handle"]
    ordering = ["-id"]
    list_per_page = 50
    show_full_result_count = False
    actions = None
    fields = [
        "created_at",
        "show_who",
        "on_behalf_of",
        "token_issued_by",
        "show_what",
        "subject_id",
        "show_changes",
        ("via", "address", "request_id"),
        "reason",
    ]

    def get_fields(self, request: HttpRequest, obj: Event | None = None) -> list[Any]:
        """Return the fields. Only administrators see from which address a change was made."""
        fields = list(super().get_fields(request, obj))
        if get_actor(request).is_staff:
            return fields
        return [("via", "request_id") if "address" in field else field for field in fields]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Event | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Event | None = None) -> bool:
        return False

    def check_view(self, request: HttpRequest) -> None:
        """Permit everybody: the list has only the events that the user can see."""

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Event]:
        return select_log(get_actor(request).viewer, Event.objects.all())

    @display(description=_("by"))
    def show_who(self, event: Event) -> str:
        return describe_actor(event)

    @display(description=_("event"), ordering="verb")
    def show_what(self, event: Event) -> str:
        return f"{name_type(event.subject_type)} {name_verb(event.verb)}"

    @display(description=_("via"), ordering="via", label={"api": "info", "admin": "warning"})
    def show_via(self, event: Event) -> str:
        return event.via

    @display(description=_("changes"))
    def show_changes(self, event: Any) -> str:
        entry: HistoryEntry = event.entry
        return "; ".join(f"{c.label}: {c.before} → {c.after}" for c in entry.changes)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the event: it never changes, so it has no history of its own."""
        return HttpResponseRedirect(reverse("admin:audit_event_change", args=[object_id]))

    def get_object(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        event: Any = super().get_object(request, *args, **kwargs)
        if event is not None:
            (event.entry,) = read_history(get_actor(request), [event], on_screen=True)
        return event
