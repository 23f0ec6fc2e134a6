"""What a signed-in person may do on the pages of a model, decided by the rules of the apps.

An admin class names the rule of each kind of page: a check_… method calls a function of a rules.py,
which raises Forbidden. Which rows a page shows is decided by get_queryset(), with visible_to().
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

from django.db import models
from django.http import Http404, HttpRequest

from accounts.rules import require_staff
from taskflow.admin.site import ModelAdmin
from taskflow.audit.actor import Actor, ActorRequest
from taskflow.http.errors import Conflict, Forbidden

Kind = Literal["view", "add", "change", "delete", "choose", "edit"]


def get_actor(request: HttpRequest) -> Actor:
    """Return the actor of a request to the admin, which has always been authenticated."""
    return cast(ActorRequest, request).actor


def is_permitted(
    request: HttpRequest, kind: Kind, owner: object, row: models.Model | None, check: Check
) -> bool:
    """Return whether `check` does not raise Forbidden. It is called once in a request for each
    kind, class of pages and row.

    The refusal is kept in the request, for the page that explains it. A Conflict, as of an archived
    project, does not hide a page: the form shows the reason when it is saved.
    """
    if not isinstance(cast(ActorRequest, request).actor, Actor):
        return False  # nobody has signed in
    known = cast(ActorRequest, request).permissions
    key = (kind, type(owner), row.pk if row else None)
    if key not in known:
        known[key] = find_missing_right(check)
    if known[key] is not None:
        cast(ActorRequest, request).missing_permission = known[key]
    return known[key] is None


def find_missing_right(check: Check) -> Forbidden | None:
    """Return the problem with which a rule refuses something, or None if it is permitted."""
    try:
        check()
    except Forbidden as problem:
        return problem
    except Conflict:
        return None
    return None


Check = Callable[[], object]


class RuledAdmin(ModelAdmin):
    """The base of all admin classes. Without a check of its own, a page is for administrators."""

    def check_view(self, request: HttpRequest) -> None:
        """Raise Forbidden unless the user may open the list. Its rows are those of get_queryset().

        No check has to look at a row here: a row that the user cannot see is not found.
        """
        require_staff(get_actor(request))

    def check_choose(self, request: HttpRequest) -> None:
        """Raise Forbidden unless the user may choose rows for a field of a form of another type."""
        self.check_view(request)

    def check_add(self, request: HttpRequest) -> None:
        """Raise Forbidden unless the user may create rows."""
        require_staff(get_actor(request))

    def check_change(self, request: HttpRequest, row: Any | None) -> None:
        """Raise Forbidden unless the user may change the row; for None, any row at all."""
        require_staff(get_actor(request))

    def check_delete(self, request: HttpRequest, row: Any | None) -> None:
        """Raise Forbidden unless the user may delete the row; for None, any row at all."""
        require_staff(get_actor(request))

    # ---- Django's methods, which call the checks ----

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request) or self.has_add_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return is_permitted(request, "view", self, None, lambda: self.check_view(request))

    def has_choice_permission(self, request: HttpRequest) -> bool:
        return is_permitted(request, "choose", self, None, lambda: self.check_choose(request))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return is_permitted(request, "add", self, None, lambda: self.check_add(request))

    def has_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return is_permitted(request, "change", self, obj, lambda: self.check_change(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        return is_permitted(request, "delete", self, obj, lambda: self.check_delete(request, obj))

    def has_view_or_change_permission(self, request: HttpRequest, obj: Any | None = None) -> bool:
        """Return whether the user may open the page of a row. Who may only add rows may not."""
        return self.has_view_permission(request, obj)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Return the row. Raises Http404 for one that the user cannot see or that does not exist.

        Django checks the permissions first. They would be those for any row, so that a missing row
        would be refused in another way than a row that is not visible.
        """
        row = super().get_object(request, object_id, from_field)
        if row is None:
            raise Http404
        return row

    def get_field_queryset(
        self, db: str | None, db_field: Any, request: HttpRequest
    ) -> models.QuerySet[Any]:
        """Return the rows that a field may refer to: those that the user can see."""
        return find_choices(request, db_field)


def find_choices(request: HttpRequest, db_field: Any) -> models.QuerySet[Any]:
    """Return the rows that the user can see and to which the column may refer.

    Otherwise a form would accept a row that the user cannot see, and reveal that it exists.
    """
    rows: Any = db_field.remote_field.model._default_manager.all()
    visible: models.QuerySet[Any] = rows.visible_to(get_actor(request).viewer)
    return visible
