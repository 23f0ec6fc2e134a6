"""The locks that actions take before they check a rule about users or tokens.

Users are locked before projects, and before tokens. See "Locks" in docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from accounts.models import ApiToken, User
from taskflow.audit.actor import Actor
from taskflow.audit.locks import LockMode
from taskflow.audit.recorder import lock, lock_all
from taskflow.http.unavailable import Contended

# The columns of a user and of a token that rules read. Every change of them locks the row.
USER_COLUMNS = ("is_active", "is_staff", "responsible", "password")
TOKEN_COLUMNS = ("revoked_at", "expires_at")


def lock_users(users: Iterable[User | None], mode: LockMode = LockMode.SHARE) -> None:
    """Prevent changes of the users until the transaction ends, and refresh what rules read.

    By default other transactions may hold the same lock, so that several can assign tasks to one
    user at the same time. None is skipped; two objects of one user are both refreshed. One
    statement. Raises NotFound when one of the users no longer exists.
    """
    lock_all(list({id(user): user for user in users if user}.values()), *USER_COLUMNS, mode=mode)


def lock_with_responsible(user: User, *others: User | None) -> None:
    """Lock a user, the user who is responsible for it, and the others, as lock_users() does.

    Raises Contended when another user has become responsible in the meantime, since that user is
    not locked.
    """
    responsible_id = user.responsible_id
    lock_users([user, user.responsible, *others])
    if user.responsible_id != responsible_id:
        raise Contended("Another user has become responsible. Send the request again.")


def lock_token(token: ApiToken, *others: User | None) -> None:
    """Lock a token for a change, after its user, the user who is responsible for that user, and
    the others.
    """
    lock_with_responsible(token.user, *others)
    lock(token, *TOKEN_COLUMNS)


def lock_credentials(actor: Actor) -> None:
    """Prevent the request's own token from being revoked until the transaction ends."""
    if actor.token is not None:
        lock(actor.token, *TOKEN_COLUMNS, mode=LockMode.SHARE)
