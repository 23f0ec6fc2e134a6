"""The one who acts. Every door (API, admin, command) makes an Actor and passes it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from django.db import models
from django.http import HttpRequest

from taskflow.audit.models import Via
from taskflow.http.preconditions import Precondition
from taskflow.http.responses import Who

if TYPE_CHECKING:
    from accounts.models import ApiToken, Tenant, User


class TokenScope(models.TextChoices):
    """The most that a token permits. The rights of its user limit it further."""

    READ = "read"
    WRITE = "write"  # tasks, projects, members, tags
    ADMIN = "admin"  # also users, tokens and the password


@dataclass(frozen=True, slots=True)
class Actor:
    """A user at work in one tenant, having come in through one door.

    `tenant` is the one acted in; an operator's own is the platform. `project_ids` bounds what a
    token shows, None for no bound. What he changes must be as his `precondition` has seen it.
    `undoing` are the events that a change takes back, by subject type and id. With `entropy` (32
    bytes) a token that he makes always has the same text.
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
        """Administrator of the tenant, or an operator at work in it."""
        return self.user.is_staff or self.user.is_superuser

    @property
    def who(self) -> Who:
        """What visible_to() looks at, for questions that are compiled."""
        return (self.user.pk, self.is_staff, self.project_ids)

    @property
    def is_operator(self) -> bool:
        """From outside this tenant: nothing in it can point at him."""
        return self.user.tenant_id != self.tenant.pk

    @property
    def member(self) -> User | None:
        """The user, where a row may point at him."""
        return None if self.is_operator else self.user


def asker(who: Who) -> Any:
    """An actor for visible_to(), whose values may be holes."""
    user_id, is_staff, project_ids = who
    return SimpleNamespace(
        user=SimpleNamespace(pk=user_id), is_staff=is_staff, project_ids=project_ids
    )


class ActorRequest(HttpRequest):
    """A request that has been authenticated."""

    auth: Actor
    actor: Actor
    request_id: str
