"""The schemas of notifications."""

from __future__ import annotations

from datetime import datetime

from pydantic import MISSING, Field, StrictBool, field_validator

from accounts.schemas.users import UserRef
from taskflow.http.filtering import Filters, list_filter_field
from taskflow.http.paging import ListResponse, PageParams
from taskflow.http.schema import Id, In, Out, RowId, example
from tasks.models.notifications import Digest, NotificationKind
from tasks.schemas.task_counts import ProjectRef


class NotifiedTask(Out):
    """A task inside a notification."""

    id: RowId
    key: str = Field(description="The key, such as WEB-12.")
    title: str = Field(description="The title.")


class NotifiedPage(Out):
    """A page inside a notification."""

    id: RowId
    title: str = Field(description="The title.")


class NotificationResponse(Out):
    """Something that you should hear of. It is about a task, a page or a project."""

    id: RowId
    kind: NotificationKind
    actor_id: int | None = Field(description="The id of who has caused it, or null.")
    actor: UserRef | None = Field(
        description="Who has caused it; null for what time or the system has brought."
    )
    task: NotifiedTask | None = Field(description="The task; null if it is about something else.")
    comment_id: int | None = Field(description="The comment that mentions you, or null.")
    page: NotifiedPage | None = Field(description="The page, or null.")
    project: ProjectRef | None = Field(
        description="The project whose description mentions you, or null."
    )
    read_at: datetime | None = Field(description="When you have read it, in UTC; null if unread.")
    created_at: datetime = Field(
        description="When it happened, in UTC. For an overdue task, when it was due."
    )


class NotificationFilters(PageParams, Filters):
    """Filters of notifications. A notification must satisfy all of them."""

    unread: StrictBool | MISSING = Field(
        MISSING, description="`true`: only those that are unread; `false`: only the others."
    )
    kind: list[NotificationKind] | MISSING = list_filter_field(
        "What they are about; of several values, one is enough."
    )


class NotificationListResponse(ListResponse[NotificationResponse]):
    """A page of your notifications."""


class ReadingCreate(In):
    """Which notifications to mark as read: all up to one of them."""

    model_config = example(up_to=1)

    up_to: Id | MISSING = Field(
        MISSING,
        description="The id of the newest notification to mark, so that later ones stay unread."
        " Left out: all.",
    )


class ReadingResponse(Out):
    """How many notifications were unread before."""

    count: int = Field(description="How many were marked as read.")


class PreferencesUpdate(In):
    """The preferences to change. Those that are absent stay as they are."""

    model_config = example(muted=["unblocked"])

    digest: Digest | MISSING = Field(
        MISSING,
        description="How often you get what is unread by e-mail, in the morning of the tenant's"
        " time zone. Nothing is sent when nothing is new.",
    )
    muted: list[NotificationKind] | MISSING = Field(
        MISSING, max_length=len(NotificationKind), description="Kinds of which you get none."
    )

    @field_validator("muted")
    @classmethod
    def sort_kinds(cls, kinds: list[NotificationKind]) -> list[NotificationKind]:
        """Return each kind once, in the order of their definition."""
        return [kind for kind in NotificationKind if kind in kinds]


class PreferencesResponse(Out):
    """What you get notifications about, and how."""

    digest: Digest
    muted: list[NotificationKind] = Field(description="Kinds of which you get none.")
