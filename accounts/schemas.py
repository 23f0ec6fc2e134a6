"""Request bodies, filters and responses for tenants, users, tokens and events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import MISSING, AfterValidator, Field, Secret, StrictBool, StringConstraints

from accounts.models import HANDLE, RESERVED_HANDLES, SUBDOMAIN, Tenant, User, UserKind
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.history import HistoryEntry
from taskflow.audit.models import Event, Via
from taskflow.http.filtering import Filters, list_filter_field, with_exclusions
from taskflow.http.paging import ListResponse, PageParams
from taskflow.http.schema import Email, FilterWord, Id, In, Out, Timestamp, Version


def _check_not_reserved(handle: str) -> str:
    if handle in RESERVED_HANDLES:
        raise ValueError(f"must not be {' or '.join(RESERVED_HANDLES)}, which are reserved")
    return handle


Handle = Annotated[
    str,
    AfterValidator(_check_not_reserved),
    Field(max_length=50, pattern=rf"^{HANDLE.pattern}$", examples=["ada"]),
]
FullName = Annotated[str, Field(max_length=100)]
Password = Annotated[
    # White space is kept: the sign-in page of the admin does not strip it either.
    Secret[Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=False)]],
    Field(json_schema_extra={"format": "password", "writeOnly": True}),
]


class TenantResponse(Out):
    id: int
    name: str
    subdomain: str
    time_zone: str
    version: Version
    created_at: datetime
    updated_at: datetime


class TenantUpdate(In):
    name: str | MISSING = Field(MISSING, min_length=1, max_length=200)
    time_zone: str | MISSING = Field(MISSING, max_length=63, examples=["Europe/Berlin"])


class UserResponse(Out):
    id: int
    kind: UserKind
    handle: str
    email: str | None
    full_name: str
    is_active: bool
    is_staff: bool
    responsible_id: int | None
    version: Version
    created_at: datetime
    updated_at: datetime


class MeResponse(UserResponse):
    tenant: TenantResponse
    scope: TokenScope = Field(description="Scope of the credentials that this request uses.")

    @staticmethod
    def resolve_tenant(user: User, context: Mapping[str, Any]) -> Tenant:
        return _get_actor(context).tenant

    @staticmethod
    def resolve_scope(user: User, context: Mapping[str, Any]) -> TokenScope:
        return _get_actor(context).scope


def _get_actor(context: Mapping[str, Any]) -> Actor:
    actor: Actor = context["request"].auth
    return actor


class UserRef(Out):
    """A user inside another response."""

    id: int
    handle: str
    full_name: str
    email: str | None
    kind: UserKind


class UserCreate(In):
    kind: UserKind = UserKind.HUMAN
    handle: Handle | None = None
    email: Email | None = None
    password: Password | None = None
    full_name: FullName = ""
    is_staff: StrictBool = False
    responsible_id: Id | None = None


class UserUpdate(In):
    handle: Handle | MISSING = MISSING
    email: Email | None | MISSING = MISSING
    password: Password | MISSING = MISSING
    full_name: FullName | MISSING = MISSING
    is_staff: StrictBool | MISSING = MISSING
    is_active: StrictBool | MISSING = MISSING
    responsible_id: Id | None | MISSING = MISSING


class MeUpdate(In):
    handle: Handle | MISSING = MISSING
    email: Email | MISSING = MISSING
    full_name: FullName | MISSING = MISSING


class PasswordChange(In):
    current_password: Password
    new_password: Password


class UserFilters(PageParams, Filters):
    kind: UserKind | MISSING = MISSING
    is_active: bool | MISSING = MISSING
    handle: str | MISSING = Field(MISSING, max_length=50, description="This exact handle.")
    email: str | MISSING = Field(MISSING, max_length=255, description="This exact e-mail.")


class UserListResponse(ListResponse[UserResponse]):
    pass


class Registration(In):
    tenant_name: str = Field(min_length=1, max_length=200)
    subdomain: str = Field(
        max_length=63, pattern=rf"^{SUBDOMAIN.pattern}$", description="A DNS label."
    )
    full_name: str = Field(min_length=1, max_length=100)
    email: Email
    password: Password


class Login(In):
    email: str = Field(max_length=255)
    password: Password
    tenant: str | None = Field(
        None,
        max_length=63,
        description="Subdomain of the tenant. When absent: that of X-Tenant or the host, or the"
        " default tenant.",
    )


class SignedInResponse(Out):
    token: str = Field(description="Shown once. Send it as `Authorization: Bearer …`.")
    expires_at: datetime | None
    user: UserResponse
    tenant: TenantResponse


class TokenCreate(In):
    name: str = Field(min_length=1, max_length=100)
    scope: TokenScope = TokenScope.WRITE
    expires_in_days: int | None = Field(
        None, ge=1, le=3650, description="Days until it expires; 90 when absent."
    )
    project_ids: list[Id] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Limit the token to these projects, which you can see; null for no limit.",
    )
    user_id: Id | None = Field(None, description="One of your agents; yourself when absent.")


class TokenResponse(Out):
    id: int
    user_id: int
    name: str
    prefix: str
    scope: TokenScope
    project_ids: list[int] | None
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="Updated at most once an hour.")
    version: Version
    created_at: datetime
    updated_at: datetime


class IssuedTokenResponse(TokenResponse):
    token: str = Field(description="Shown once; only its SHA-256 is stored.")


class TokenListResponse(ListResponse[TokenResponse]):
    pass


class Subject(Out):
    type: str = Field(examples=["task"])
    id: int


class EventResponse(Out):
    id: int
    at: datetime
    verb: str = Field(examples=["task.completed"])
    sentence: str = Field(description="The event as a sentence, to show to people.")
    actor: UserRef | None = Field(description="Null for an operator and for commands.")
    operator_id: int | None = Field(description="The operator who made the change, or null.")
    on_behalf_of: UserRef | None = Field(
        description="The user that X-On-Behalf-Of named, or null when it was not sent."
    )
    via: Via
    request_id: str
    reason: str = Field(description="The decoded X-Reason; empty when it was not sent.")
    subject: Subject
    project_id: int | None
    changes: dict[str, list[object]] = Field(description="{field: [before, after]}")
    undoes: list[int] | None = Field(description="Ids of the events that this one undoes.")


def build_event_response(entry: HistoryEntry) -> dict[str, object]:
    """Return the fields of EventResponse. Its event needs `actor` and `on_behalf_of` loaded."""
    event = entry.event
    return {
        "id": event.pk,
        "at": event.created_at,
        "verb": f"{event.subject_type}.{event.verb}",
        "sentence": entry.sentence,
        "actor": event.actor,
        "operator_id": event.operator_id,
        "on_behalf_of": event.on_behalf_of,
        "via": event.via,
        "request_id": event.request_id,
        "reason": event.reason,
        "subject": {"type": event.subject_type, "id": event.subject_id},
        "project_id": event.project_id,
        "changes": event.changes,
        "undoes": list_undone_event_ids(event),
    }


def list_undone_event_ids(event: Event) -> list[int] | None:
    """Return the sorted ids of the events that this one undoes, or None if it is no undo."""
    return event.undoes and sorted(map(int, event.undoes))


@with_exclusions
class EventFilters(PageParams, Filters):
    verb: list[FilterWord] | MISSING = list_filter_field("For example task.completed.")
    since: Timestamp | MISSING = Field(MISSING, description="At this time or later.")
    until: Timestamp | MISSING = Field(MISSING, description="Before this time.")


class EventListResponse(ListResponse[EventResponse]):
    pass
