"""The filters of stored views, beside those that a request sends."""

from __future__ import annotations

from collections.abc import Mapping

from taskflow.audit.actor import Actor
from taskflow.http.errors import Invalid
from taskflow.http.paging import FilterValues
from tasks.models import View

VIEW = "view"  # the filter that names a stored view
IN_VIEW = "view."  # before the name of a filter of the view that the request sends too


def load_view(actor: Actor, view_id: int) -> View:
    """Return a visible view. One query. Raises Invalid, naming the filter, if there is none."""
    view: View | None = View.objects.visible_to(actor.viewer).filter(pk=view_id).first()
    if view is None:
        sentence = f"There is no view {view_id} that you can see. GET /views lists them."
        raise Invalid.parameter(VIEW, sentence, "unknown_reference")
    return view


def refuse_view(view: View, problem: Invalid) -> Invalid:
    """Return the problem of a request whose view names what does not exist any more."""
    sentence = (
        f"The view “{view.name}” cannot be used any more: {problem.detail} Change the filters of"
        " the view."
    )
    return Invalid.parameter(VIEW, sentence, "unknown_reference")


def add_view_filters(values: Mapping[str, object], of_view: FilterValues) -> dict[str, object]:
    """Return the filters of a request and of a view, of which a task must satisfy all.

    A filter of the view that the request has too is named with a prefix.
    """
    renamed = {IN_VIEW + name if name in values else name: v for name, v in of_view.items()}
    return {**renamed, **values}
