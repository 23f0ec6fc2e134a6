"""Actions of operators on the life of a tenant: deactivate it, activate it, delete it.

A deactivated tenant keeps all its rows, and nobody can use it. One that is to be deleted is
deactivated for 30 days, in which it can be activated again. Then `purge` deletes its rows.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

from django.utils import timezone
from django.utils.translation import gettext_noop

from accounts.models import PLATFORM, Tenant
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change
from taskflow.audit.verbs import register_event_verb
from taskflow.http.errors import Conflict, Forbidden

DELETION_DELAY = timedelta(days=30)
for _verb, _sentence in {
    "deactivated": "deactivated the tenant",
    "activated": "activated the tenant",
    "deletion_scheduled": "scheduled the deletion of the tenant",
}.items():
    register_event_verb("tenant", _verb, _sentence)


def deactivate_tenant(actor: Actor) -> Tenant:
    """Close the actor's tenant: nobody signs in, and tokens and sessions do not work."""
    return _change(actor, "deactivated", is_active=False)


def activate_tenant(actor: Actor) -> Tenant:
    """Open the actor's tenant again. A scheduled deletion is taken back."""
    return _change(actor, "activated", is_active=True, deletion_at=None)


def schedule_deletion(actor: Actor) -> Tenant:
    """Deactivate the actor's tenant, and let `purge` delete it after 30 days.

    Scheduling it again does not prolong the time.
    """
    deletion_at = actor.tenant.deletion_at or timezone.now() + DELETION_DELAY
    return _change(actor, "deletion_scheduled", is_active=False, deletion_at=deletion_at)


def _change(actor: Actor, verb: str, **values: object) -> Tenant:
    """Change the actor's tenant. For operators. Raises Conflict for the tenant of the platform."""
    if not actor.user.is_superuser:
        raise Forbidden(gettext_noop("Only an operator may do this."))
    if actor.tenant.subdomain == PLATFORM:
        raise Conflict(
            gettext_noop("The tenant of the operators cannot be deactivated or deleted.")
        )
    # A tenant is no TenantModel, but has every attribute that the recorder uses.
    return change(actor, cast(Any, actor.tenant), verb, **values)  # type: ignore[no-any-return]
