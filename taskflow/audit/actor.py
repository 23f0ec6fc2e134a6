"""The actor of a change. Every channel (API, admin, command) passes one to its actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db import models

from taskflow.audit.models import Via
from taskflow.db.viewer import Viewer
from taskflow.http.preconditions import Precondition
from taskflow.http.request import Request

if TYPE_CHECKING:
    from accounts.models import ApiToken, Tenant, User


class TokenScope(models.TextChoices):
    """The most that a token permits. The rights of its user limit it further."""

    READ = "read"
    WRITE = "write"  # tasks, projects, members, tags
    ADMIN = "admin"  # also users, tokens and the password


@dataclass(frozen=True, slots=True)
class Actor:
    """A user who works in one tenant through one channel.

    `tenant` is the tenant that is worked in; the user of an operator belongs to the platform.
    `project_ids` limits the visible projects to those of a token; None means no limit. `reason` and
    `on_behalf_of` are recorded with each event. With a `precondition`, changes of fields that
    others have changed since that version are refused. `undoing` holds the events that a change
    undoes, by subject type and id. The same `entropy` (32 bytes) gives a created token the same
    text.
    """

    user: User
    tenant: Tenant
    via: Via = Via.API
    scope: TokenScope = TokenScope.ADMIN
    project_ids: tuple[int, ...] | None = None
    token: ApiToken | None = None
    request_id: str = ""
    reason: str = ""
    on_behalf_of: User | None = None
    entropy: bytes | None = None
    precondition: Precondition | None = None
    undoing: Mapping[tuple[str, int], dict[str, list[str]]] = field(default_factory=dict)

    @property
    def is_staff(self) -> bool:
        """Whether the user administers the tenant or is an operator."""
        return self.user.is_staff or self.user.is_superuser

    @property
    def viewer(self) -> Viewer:
        """What `visible_to()` compares with."""
        token_id = self.token.pk if self.token and self.project_ids is not None else None
        return Viewer(self.user.pk, self.is_staff, self.project_ids, token_id)

    @property
    def is_operator(self) -> bool:
        """Whether the user belongs to another tenant, so that no row here can refer to them."""
        return self.user.tenant_id != self.tenant.pk

    @property
    def member(self) -> User | None:
        """The user, or None for an operator, to whom no row of the tenant can refer."""
        return None if self.is_operator else self.user


class ActorRequest(Request):
    """An authenticated request."""

    auth: Actor
    actor: Actor
