"""The tabs above the list of tasks: usual selections, and the stored views that the user sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from taskflow.audit.actor import Actor
from tasks.admin.addresses import WHERE, list_address_of, write_where
from tasks.models import View
from tasks.models.views import Layout

MAX_VIEWS = 20  # of the tabs; the page of all views lists the others
USUAL = (
    (_("All"), ""),
    (_("My open tasks"), write_where({"assignee": "me", "status_not": "done"})),
    (_("Overdue"), write_where({"overdue": True})),
    (
        _("Due in 7 days"),
        write_where({"due_after": "yesterday", "due_before": "8d", "status_not": "done"}),
    ),
    (_("Nobody's"), write_where({"assignee": "none", "status_not": "done"})),
    (_("Blocked"), write_where({"ready": False, "status_not": "done"})),
)
LAYOUT_PAGES: Mapping[str, str] = {
    Layout.LIST: "admin:tasks_task_changelist",
    Layout.BOARD: "admin:tasks_task_board",
    Layout.CALENDAR: "admin:tasks_task_calendar",
    Layout.TIMELINE: "admin:tasks_task_timeline",
}
LAYOUT_NAMES = {
    Layout.LIST: _("List"),
    Layout.BOARD: _("Board"),
    Layout.CALENDAR: _("Calendar"),
    Layout.TIMELINE: _("Timeline"),
}


class Tab(NamedTuple):
    """A link above the tasks."""

    title: str
    address: str
    is_active: bool


class Tabs(NamedTuple):
    """What stands above the tasks in each layout."""

    selections: list[Tab]
    layouts: list[Tab]
    save_address: str | None  # of the form that stores the filters as a view
    has_more: bool  # whether there are more views than tabs


def build_tabs(actor: Actor, where: str, layout: Layout) -> Tabs:
    """Return the tabs of a page with these filters. One query, for the views."""
    rows = View.objects.visible_to(actor.viewer).order_by("name_folded", "pk")
    views = list(rows[: MAX_VIEWS + 1])
    usual = [Tab(str(title), list_address_of(text), where == text) for title, text in USUAL]
    stored = [
        Tab(view.name, layout_address(view.layout, text := write_where({"view": view.pk})),
            where == text)
        for view in views[:MAX_VIEWS]
    ]  # fmt: skip
    layouts = [
        Tab(str(LAYOUT_NAMES[other]), layout_address(other, where), other == layout)
        for other in Layout
    ]
    return Tabs(usual + stored, layouts, _save_address(where, layout), len(views) > MAX_VIEWS)


def layout_address(layout: str, where: str) -> str:
    """Return the address of a page that shows the tasks with these filters in a layout."""
    address = reverse(LAYOUT_PAGES[layout])
    return f"{address}?{urlencode({WHERE: where})}" if where else address


def _save_address(where: str, layout: Layout) -> str | None:
    """Return the address of the form of a new view; None if there is nothing to store, because the
    filters are none or those of a view.
    """
    if not where or "view=" in where:
        return None
    query = urlencode({"where": where, "layout": layout.value})
    return f"{reverse('admin:tasks_view_add')}?{query}"
