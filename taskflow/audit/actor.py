"""The actor of a change. Every channel (API, admin, command) passes one to its actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.db import models
from django.utils.translation import gettext_lazy as _

from taskflow.audit.models import Via
from taskflow.db.viewer import Viewer
from taskflow.http.preconditions import Precondition
from taskflow.http.request import Request

if TYPE_CHECKING:
    from accounts.models import ApiToken, Tenant, User


class TokenScope(models.TextChoices):
    """The most that a token permits. The rights of its user limit it further."""

    READ = "read", _("Read")
    WRITE = "write", _("Write")  # tasks, projects, members, tags
    ADMIN = "admin", _("Admin")  # also users, tokens and the password


@dataclass(frozen=True, slots=True)
class Actor:
    """A user who reads or writes the data of one tenant through one channel.

    `tenant` is the tenant whose data it is; an operator belongs to another one, the platform.
    `project_ids` limits the visible projects to those of the token; None means no limit. `maker_id`
    is the user who created the token for this one, and limits them to those that this user can see;
    None if that is all, as for an administrator. `reason`
    and `on_behalf_of` are recorded with each event. With a `precondition`, changes of fields that
    others have changed since that version are refused. `claim_id` is the claim that the
    request names as its right to change a claimed task. `undoing` maps the type and id of a row to
    the events that are undone: {event id: [fields that are not undone]}. `entropy` (32 bytes)
    determines the text of a token that is created, so that a retry creates the same one.
    """

    user: User
    tenant: Tenant
    via: Via = Via.API
    scope: TokenScope = TokenScope.ADMIN
    project_ids: tuple[int, ...] | None = None
    maker_id: int | None = None
    token: ApiToken | None = None
    request_id: str = ""
    address: str = ""  # of the client; empty for commands
    reason: str = ""
    on_behalf_of: User | None = None
    entropy: bytes | None = None
    precondition: Precondition | None = None
    claim_id: int | None = None
    undoing: Mapping[tuple[str, int], dict[str, list[str]]] = field(default_factory=dict)

    @property
    def is_staff(self) -> bool:
        """Whether the user is an administrator of the tenant or an operator."""
        return self.user.is_staff or self.user.is_superuser

    @property
    def viewer(self) -> Viewer:
        """The part of the actor that `visible_to()` needs."""
        token_id = self.token.pk if self.token and self.project_ids is not None else None
        return Viewer(self.user.pk, self.is_staff, self.project_ids, token_id, self.maker_id)

    @property
    def is_operator(self) -> bool:
        """Whether the user belongs to another tenant, so that no row here can refer to them."""
        return self.user.tenant_id != self.tenant.pk

    @property
    def member(self) -> User | None:
        """The user, or None for an operator: rows of the tenant cannot refer to operators."""
        return None if self.is_operator else self.user


class ActorRequest(Request):
    """An authenticated request."""

    auth: Actor
    actor: Actor
