"""
Which readers of the feed get the same answer, so that one query serves all of them.

What a viewer sees depends on the projects that the viewer can see and on the roles there, and for
drafts, and with tokens that are bound to projects, on the user. So readers with equal memberships
are of one class. An answer that depends on the user is shared by tokens of the user only.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from accounts.auth import select_usable_tokens
from accounts.models import ApiToken
from taskflow.audit.feed import FeedPage, select_between
from taskflow.audit.models import Event
from taskflow.audit.resource_types import ResourceType, model_of_field, resource_types
from taskflow.db.expressions import AsText, ConcatenatedText, JsonList
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.types import Row
from taskflow.tenancy import with_tenant_parameter
from tasks.models import Project, ProjectMember

SEES_ALL = "all events"


def classify_readers(
    token_ids: Iterable[int], page: FeedPage, *, names_me: bool
) -> dict[int, Hashable]:
    """Return the class of each of the tokens that can be used, for sharing this page.

    Readers of one class that have sent the same request get the same answer. `names_me` is whether
    the request means the actor by a filter. The page has to be read in the same snapshot of the
    database, otherwise a membership that ends meanwhile would show its events to others. Two
    queries.
    """
    is_personal = names_me or _is_personal(page)
    rows = _readers_queries.fetch((), IdArray(tuple(sorted(token_ids))), timezone.now())
    return {row[0]: _class_of(row[1:], is_personal=is_personal) for row in rows}


def _class_of(columns: Row, *, is_personal: bool) -> Hashable:
    user_id, is_staff, bound_to, maker_id, owns_project, memberships = columns
    if is_staff and bound_to is None and maker_id is None and not is_personal:
        return SEES_ALL
    # A token that another user has created shows the projects of both, and those that its user
    # owns. One that is bound to projects shows its own user and the members there.
    if bound_to is not None or (maker_id is not None and owns_project):
        is_personal = True
    return is_staff, maker_id, memberships, (user_id, bound_to) if is_personal else None


@with_tenant_parameter
def _select_readers(token_ids: IdArray, now: datetime) -> QuerySet[ApiToken, Row]:
    members = ProjectMember.objects.filter(user=OuterRef("user")).order_by("project_id")
    roles = members.values(_text=ConcatenatedText("project_id", "role", separator=" "))
    return (
        select_usable_tokens(now)
        .filter(IsInIds("pk", token_ids))
        .annotate(
            _bound_to=AsText("project_ids"),
            _owns_project=Exists(Project.everything.filter(owner=OuterRef("user"))),
            _memberships=AsText(JsonList(roles)),
        )
        .values_list(
            *("pk", "user_id", "user__is_staff"),
            *("_bound_to", "maker_id", "_owns_project", "_memberships"),
        )
    )


_readers_queries: QueryCache[ApiToken] = QueryCache(_select_readers)


# ---- answers that depend on the user -------------------------------------------------------------


def _is_personal(page: FeedPage) -> bool:
    """Return whether the page may differ between users with equal memberships.

    It does if rows of which some are visible to certain users only, as drafts are, were changed,
    shown or not, or are named in what is shown.
    """
    if page.start is None or page.stop is None:
        return False
    personal = [t for t in resource_types().values() if _has_personal_rows(t)]
    models = {t.model for t in personal}
    if any(model_of_field(e.subject_type, n) in models for e in page.events for n in e.changes):
        return True
    # Events outside projects are for administrators only, who see all of them.
    names = tuple(t.name for t in personal if t.belongs_to is not None)
    return bool(_personal_queries.fetch((), tuple(page.start), tuple(page.stop), names))


def _has_personal_rows(resource_type: ResourceType) -> bool:
    return bool(resource_type.own_visibility or resource_type.draft_visibility)


@with_tenant_parameter
def _select_personal(
    start: tuple[int, ...], stop: tuple[int, ...], types: tuple[str, ...]
) -> QuerySet[Event, Row]:
    events = select_between(start, stop).filter(subject_type__in=types)
    return events.values_list("pk")[:1]


_personal_queries: QueryCache[Event] = QueryCache(_select_personal)
