"""Request bodies, filters and responses for tenants, users, tokens and events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import (
    MISSING,
    AfterValidator,
    Field,
    Secret,
    StrictBool,
    StrictInt,
    StringConstraints,
)

from accounts.models import HANDLE, RESERVED_HANDLES, SUBDOMAIN, Tenant, User, UserKind
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.history import HistoryEntry
from taskflow.audit.models import Event, Via
from taskflow.http.filtering import Filters, NameFilters, list_filter_field, with_exclusions
from taskflow.http.paging import ListResponse, PageParams
from taskflow.http.references import (
    ProjectReference,
    ResponsibleReference,
    UserReference,
    WithReferences,
)
from taskflow.http.schema import (
    CreatedAt,
    Email,
    FilterWord,
    Id,
    In,
    Matches,
    OneLine,
    Out,
    RowId,
    Timestamp,
    UpdatedAt,
    Version,
    example,
)


def _check_not_reserved(handle: str) -> str:
    if handle in RESERVED_HANDLES:
        raise ValueError(f"must not be {' or '.join(RESERVED_HANDLES)}, which are reserved")
    return handle


Handle = Annotated[
    str,
    AfterValidator(_check_not_reserved),
    Matches(
        HANDLE,
        "have only lower-case letters, digits, “.”, “_” and “-”, and begin with a letter or digit",
    ),
    Field(
        max_length=50,
        description="The short name, unique in the tenant. People write it as @ada.",
        examples=["ada"],
    ),
]
FullName = Annotated[
    str, Field(max_length=100, description="The name, as people write it."), OneLine
]
UserEmail = Annotated[
    Email,
    Field(
        description="The e-mail, unique in the tenant without regard to case.",
        examples=["ada@example.com"],
    ),
]
TenantName = Annotated[str, Field(min_length=1, max_length=200, description="The name."), OneLine]
IsStaff = Annotated[StrictBool, Field(description="Whether the user administers the tenant.")]
ResponsibleId = Annotated[
    Id,
    Field(
        description="Only for an agent: the id of the user who is responsible for it, in place of"
        " `responsible`."
    ),
]
Password = Annotated[
    # White space is kept: the sign-in page of the admin does not strip it either.
    Secret[Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=False)]],
    Field(
        description="A password. Spaces at its ends count.",
        json_schema_extra={"format": "password", "writeOnly": True},
    ),
]


class TenantResponse(Out):
    """A tenant: an organization whose data no other tenant sees."""

    id: RowId
    name: str = Field(description="The name.")
    subdomain: str = Field(description="The DNS label that names it in hosts and in X-Tenant.")
    time_zone: str = Field(description="The IANA name of its time zone, such as Europe/Berlin.")
    version: Version
    created_at: CreatedAt
    updated_at: UpdatedAt


class TenantUpdate(In):
    """The fields to change. Fields that are absent stay as they are."""

    model_config = example(time_zone="Europe/Berlin")

    name: TenantName | MISSING = MISSING
    time_zone: str | MISSING = Field(
        MISSING,
        max_length=63,
        description="The IANA name of the time zone. Days in filters begin at its midnight.",
        examples=["Europe/Berlin"],
    )


class UserResponse(Out):
    """A user of the tenant: a person or an agent."""

    id: RowId
    kind: UserKind
    handle: str = Field(description="The short name, unique in the tenant.")
    email: str | None = Field(description="The e-mail to sign in with; null for most agents.")
    full_name: str = Field(description="The name, as people write it; may be empty.")
    is_active: bool = Field(description="Whether the user can sign in and use tokens.")
    is_staff: bool = Field(description="Whether the user administers the tenant.")
    responsible_id: int | None = Field(
        description="For an agent, the id of the user who is responsible for it; else null."
    )
    version: Version
    created_at: CreatedAt
    updated_at: UpdatedAt


class MeResponse(UserResponse):
    """You, your tenant, and what your credentials permit."""

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

    id: RowId
    handle: str = Field(description="The short name, unique in the tenant.")
    full_name: str = Field(description="The name, as people write it; may be empty.")
    email: str | None = Field(description="The e-mail, or null.")
    kind: UserKind
    responsible_id: int | None = Field(
        description="For an agent, the id of the user who is responsible for it; else null."
    )


class UserCreate(WithReferences):
    """A new user: a person with an e-mail, or an agent with a responsible user."""

    model_config = example(handle="erin", email="erin@acme.example", full_name="Erin Example")

    kind: UserKind = UserKind.HUMAN
    handle: Handle | None = Field(
        None, description="The short name, unique in the tenant. Derived from the e-mail if absent."
    )
    email: UserEmail | None = None
    password: Password | None = None
    full_name: FullName = ""
    is_staff: IsStaff = False
    responsible: ResponsibleReference | None = None
    responsible_id: ResponsibleId | None = None


class UserUpdate(WithReferences):
    """The fields to change. Fields that are absent stay as they are."""

    model_config = example(full_name="Bob Okafor")

    handle: Handle | MISSING = MISSING
    email: UserEmail | None | MISSING = MISSING
    password: Password | MISSING = MISSING
    full_name: FullName | MISSING = MISSING
    is_staff: IsStaff | MISSING = MISSING
    is_active: StrictBool | MISSING = Field(
        MISSING, description="False: the user can no longer sign in, and the tokens are revoked."
    )
    responsible: ResponsibleReference | None | MISSING = MISSING
    responsible_id: ResponsibleId | None | MISSING = MISSING


class MeUpdate(In):
    """The fields to change. Fields that are absent stay as they are."""

    model_config = example(full_name="Ada Lindqvist")

    handle: Handle | MISSING = MISSING
    email: UserEmail | MISSING = MISSING
    full_name: FullName | MISSING = MISSING


class PasswordChange(In):
    """The present password and the new one."""

    model_config = example(
        **{"current_password": "taskflow-demo-2026", "new_password": "a long enough passphrase"}
    )

    current_password: Password
    new_password: Password


class UserFilters(PageParams, NameFilters):
    """Filters of users. `q` finds handles and full names."""

    kind: UserKind | MISSING = Field(MISSING, description="People, or agents.")
    is_active: StrictBool | MISSING = Field(
        MISSING, description="`true`: active users; `false`: deactivated users."
    )
    handle: str | MISSING = Field(MISSING, max_length=50, description="Without regard to case.")
    email: str | MISSING = Field(MISSING, max_length=255, description="Without regard to case.")


class UserListResponse(ListResponse[UserResponse]):
    """A page of the list of users."""


class Registration(In):
    """A new tenant, and its first administrator."""

    model_config = example(
        tenant_name="Initech",
        subdomain="initech",
        full_name="Ira Example",
        email="ira@initech.example",
        **{"password": "a long enough passphrase"},
    )

    tenant_name: TenantName
    subdomain: Annotated[
        str,
        Matches(SUBDOMAIN, "have only lower-case letters, digits and “-”, and “-” only inside"),
    ] = Field(
        max_length=63,
        description="A DNS label, unique in the installation.",
        examples=["initech"],
    )
    full_name: Annotated[
        str,
        Field(min_length=1, max_length=100, description="The name of the administrator."),
        OneLine,
    ]
    email: UserEmail
    password: Password


class Login(In):
    """The credentials of a person."""

    model_config = example(**{"email": "ada@acme.example", "password": "taskflow-demo-2026"})

    email: str = Field(max_length=255, description="The e-mail, without regard to case.")
    password: Password
    tenant: str | None = Field(
        None,
        max_length=63,
        description="Subdomain of the tenant. When absent: that of X-Tenant or the host, or the"
        " default tenant.",
    )


class SignedInResponse(Out):
    """A new token, and the user and tenant that it belongs to."""

    token: str = Field(description="Shown once. Send it as `Authorization: Bearer …`.")
    expires_at: datetime | None = Field(description="When the token expires, in UTC.")
    user: UserResponse
    tenant: TenantResponse


class TokenCreate(WithReferences):
    """A new token."""

    model_config = example(name="nightly report", scope="read", expires_in_days=30)

    name: Annotated[
        str,
        Field(
            min_length=1, max_length=100, description="What it is for.", examples=["nightly report"]
        ),
        OneLine,
    ]
    scope: TokenScope = TokenScope.WRITE
    expires_in_days: StrictInt | None = Field(
        None, ge=1, le=3650, description="Days until it expires; 90 when absent."
    )
    projects: list[ProjectReference] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Limit the token to these projects, by id or key, which you can see; null for"
        " no limit.",
    )
    project_ids: list[Id] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="The ids of the projects, in place of `projects`.",
    )
    user: UserReference | None = Field(
        None, description="One of your agents, by id or `@handle`; yourself when absent."
    )
    user_id: Id | None = Field(None, description="The id of the user, in place of `user`.")


class TokenResponse(Out):
    """A token, without its text."""

    id: RowId
    user_id: int = Field(description="The id of the user that it signs in.")
    name: str = Field(description="What it is for.")
    prefix: str = Field(description="The first characters of its text.")
    scope: TokenScope
    project_ids: list[int] | None = Field(
        description="The projects that it is limited to; null for no limit."
    )
    expires_at: datetime | None = Field(description="When it expires, in UTC; null: never.")
    revoked_at: datetime | None = Field(description="When it was revoked, in UTC, or null.")
    last_used_at: datetime | None = Field(description="Updated at most once an hour.")
    version: Version
    created_at: CreatedAt
    updated_at: UpdatedAt


class IssuedTokenResponse(TokenResponse):
    """A new token, with its text."""

    token: str = Field(description="Shown once; only its SHA-256 is stored.")


class TokenListResponse(ListResponse[TokenResponse]):
    """A page of the list of tokens."""


class Subject(Out):
    """The object that an event is about."""

    type: str = Field(description="Its resource type.", examples=["task"])
    id: int = Field(description="Its id.")


class EventResponse(Out):
    """A change that was made: who, what, when and why."""

    id: RowId
    at: datetime = Field(description="When the change was made, in UTC.")
    verb: str = Field(
        description="The resource type and what happened to it.", examples=["task.completed"]
    )
    sentence: str = Field(description="The event as a sentence, to show to people.")
    actor_id: int | None = Field(description="The id of the actor, or null.")
    actor: UserRef | None = Field(description="Null for an operator and for commands.")
    operator_id: int | None = Field(description="The operator who made the change, or null.")
    on_behalf_of_id: int | None = Field(description="The id of this user, or null.")
    on_behalf_of: UserRef | None = Field(
        description="The user that X-On-Behalf-Of named, or null when it was not sent."
    )
    via: Via
    request_id: str = Field(description="The X-Request-Id of the request that made the change.")
    reason: str = Field(description="The decoded X-Reason; empty when it was not sent.")
    subject: Subject
    project_id: int | None = Field(description="The id of its project, or null.")
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
        "actor_id": event.actor_id,
        "actor": event.actor,
        "operator_id": event.operator_id,
        "on_behalf_of_id": event.on_behalf_of_id,
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
    """A page of a list of events."""
