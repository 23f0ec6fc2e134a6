"""Actions on users: create, change, deactivate and delete them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from unicodedata import normalize

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db.models import ProtectedError, Q, RestrictedError
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext, gettext_noop

from accounts.actions.confirmation import is_credential_change, require_current_password
from accounts.actions.email_changes import request_email_change
from accounts.actions.locking import lock_users
from accounts.actions.mail_tokens import delete_mail_tokens_of_users
from accounts.actions.notices import notify_of_email_change, notify_of_password
from accounts.actions.tokens import revoke_all
from accounts.models import (
    HANDLE,
    RESERVED_HANDLES,
    ApiToken,
    User,
    UserKind,
)
from accounts.rules import (
    check_active,
    require_another_staff,
    require_staff,
    require_unbound,
)
from taskflow.audit.actor import Actor
from taskflow.audit.locks import LockMode
from taskflow.audit.recorder import change, change_all, create, lock, remove, remove_all
from taskflow.http.errors import Conflict, Forbidden, Invalid

NO_EMAIL = Invalid.field("email", gettext_noop("A person needs an e-mail address."), "missing")


def create_user(
    actor: Actor,
    *,
    kind: UserKind = UserKind.HUMAN,
    handle: str | None = None,
    email: str | None = None,
    password: str | None = None,
    full_name: str = "",
    is_staff: bool = False,
    responsible: User | None = None,
) -> User:
    """Add a person or an agent to the tenant.

    A person needs an e-mail address, and cannot sign in without a password. An agent has no
    password; `responsible` is its responsible user, by default the actor. Without a handle one is
    derived from the e-mail or name. Raises Invalid for values that do not go together.
    """
    require_staff(actor)
    if kind == UserKind.AGENT and (password or is_staff):
        raise Invalid.field(
            "kind", gettext_noop("An agent has no password and is no administrator.")
        )
    if kind == UserKind.HUMAN and not email:
        raise NO_EMAIL.copy()
    if kind == UserKind.AGENT and responsible is None:
        responsible = actor.member
    lock_users([responsible])
    _check_responsible(kind, responsible)
    user = User(
        kind=kind,
        handle=handle or "",
        email=email,
        full_name=full_name,
        is_staff=is_staff,
        responsible=responsible,
    )
    return save_new_user(actor, user, password)


def update_user(
    actor: Actor,
    user: User,
    *,
    current_password: str | None = None,
    revoke_agent_tokens: bool = False,
    **values: Any,
) -> User:
    """Change the given fields of a user.

    A new password or e-mail of a person requires the actor's own `current_password`. It ends the
    user's sessions and tokens, and with `revoke_agent_tokens` those of the user's agents.
    Deactivating the user also deactivates the agents that
    the user is responsible for; activating the user again restores neither them nor any token or
    session. Raises Conflict for the last active administrator, and for an agent whose responsible
    user is deactivated.
    """
    require_staff(actor)
    if values.pop("kind", user.kind) != user.kind:  # an agent gets tokens from other users
        raise Invalid.field("kind", gettext_noop("A person stays a person, and an agent an agent."))
    is_credential = is_credential_change(user, values)
    if is_credential:
        require_current_password(actor, current_password)
    password = values.pop("password", None)
    if "is_active" in values:
        _lock_to_activate(actor, user, values)
    if values.get("is_active") is False or values.get("is_staff") is False:
        require_another_staff(user)
    if user.kind == UserKind.AGENT and (password or values.get("is_staff")):
        raise Invalid.field(
            "kind", gettext_noop("An agent has no password and is no administrator.")
        )
    if user.kind == UserKind.HUMAN and not values.get("email", user.email):
        raise NO_EMAIL.copy()
    lock_users([values.get("responsible")])
    _check_responsible(user.kind, values.get("responsible"))
    old_email = user.email
    _change_user(actor, user, values, password)
    if password:
        notify_of_password(actor.tenant, user)
    if user.email != old_email:
        notify_of_email_change(actor.tenant, user, old_email)
    if is_credential:
        delete_mail_tokens_of_users([user.pk])
        _end_other_access(actor, user, revoke_agent_tokens=revoke_agent_tokens)
    if not user.is_active:
        end_access(actor, [user.pk])
    return user


def deactivate_user(actor: Actor, user: User) -> User:
    """End the user's access, and that of the agents the user is responsible for."""
    return update_user(actor, user, is_active=False)


def delete_user(actor: Actor, user: User) -> None:
    """Delete a user to whom no row refers: one who owns nothing and has made no change.

    Otherwise raises Conflict, with the number of rows of each resource type that refer to the user.
    """
    require_staff(actor)
    require_another_staff(user)
    lock(user, mode=LockMode.UPDATE_KEY)
    try:
        remove_all(actor, ApiToken.objects.filter(user=user))
        remove(actor, user)
    except (ProtectedError, RestrictedError) as error:
        rows = (
            error.protected_objects
            if isinstance(error, ProtectedError)
            else error.restricted_objects
        )
        counts = Counter(type(row)._meta for row in rows)
        errors = [
            {
                "code": "owned",
                "detail": f"{count} "
                + str(model.verbose_name if count == 1 else model.verbose_name_plural),
                "kind": str(model.verbose_name_plural),
                "count": count,
            }
            for model, count in counts.items()
        ]
        errors.sort(key=lambda error: str(error["kind"]))
        raise Conflict(
            gettext(
                "%(user)s still owns %(things)s. Transfer them to another user, or deactivate this"
                " user instead."
            )
            % {"user": user, "things": ", ".join(str(error["detail"]) for error in errors)},
            code="owns_things",
            errors=errors,
        ) from None


def offboard_users(actor: Actor, users: Sequence[User]) -> int:
    """Deactivate the users and end their access; return how many tokens were live.

    Raises Conflict for the last administrator.
    """
    require_staff(actor)
    require_another_staff(*users)
    ids = [user.pk for user in users]
    change_all(actor, User.objects.filter(pk__in=ids), "offboarded", is_active=False)
    return end_access(actor, ids)


def end_access(actor: Actor, user_ids: Sequence[int]) -> int:
    """Revoke the tokens and end the admin sessions of those of these users who are deactivated.

    Also deactivates the agents that they are responsible for, and revokes the tokens of these and
    those that the users have created for other agents. Every action that deactivates users calls it
    in the same transaction. Activating a user again restores nothing of it. Return how many tokens
    were live.
    """
    ended = User.objects.filter(pk__in=user_ids, is_active=False)
    ended.end_sessions()
    delete_mail_tokens_of_users(user_ids)
    agents = User.objects.filter(responsible__in=ended.values("pk"), is_active=True)
    change_all(actor, agents, "changed", is_active=False)
    is_theirs = Q(user__in=user_ids) | Q(user__responsible__in=user_ids)
    deactivated = Q(user__is_active=False) | Q(user__responsible__is_active=False)
    is_issued = Q(issued_by__in=user_ids, issued_by__is_active=False)
    live = ApiToken.objects.filter(is_theirs & deactivated | is_issued).live(timezone.now())
    return change_all(actor, live, "revoked", revoked_at=timezone.now())


def update_me(
    actor: Actor,
    *,
    current_password: str | None = None,
    revoke_agent_tokens: bool = False,
    **values: object,
) -> User:
    """Change the actor's own name, handle or e-mail. Raises Forbidden for a bound token.

    Another e-mail of a person requires `current_password`, and ends the other sessions and tokens.
    If this installation sends mail, it takes effect when the link that is sent to it is followed.
    """
    _refuse_operator(actor)
    require_unbound(actor, "its user")
    is_credential = is_credential_change(actor.user, values)
    if is_credential:
        require_current_password(actor, current_password)
    if is_credential and settings.SENDS_MAIL:
        request_email_change(actor, str(values.pop("email")))
    _change_user(actor, actor.user, values, None)
    if is_credential:
        _end_other_access(actor, actor.user, revoke_agent_tokens=revoke_agent_tokens)
    return actor.user


def change_password(
    actor: Actor, *, current_password: str, new_password: str, revoke_agent_tokens: bool = False
) -> None:
    """Set the actor's own password, and end the actor's other sessions and tokens.

    With `revoke_agent_tokens` also those of the actor's agents. Raises Invalid when the current
    password is wrong or the new one is weak.
    """
    _refuse_operator(actor)
    require_unbound(actor, "the password")
    require_current_password(actor, current_password)
    _set_password(actor.user, new_password, "new_password")
    change(actor, actor.user, password=actor.user.password)
    delete_mail_tokens_of_users([actor.user.pk])
    notify_of_password(actor.tenant, actor.user)
    _end_other_access(actor, actor.user, revoke_agent_tokens=revoke_agent_tokens)


def reset_password(actor: Actor, new_password: str) -> None:
    """Set the actor's own password without the current one, and end every session and token.

    The caller has checked that the actor got a link by mail, and has locked the user. Raises
    Invalid when the password is weak.
    """
    _set_password(actor.user, new_password)
    change(actor, actor.user, "password_reset", password=actor.user.password)
    delete_mail_tokens_of_users([actor.user.pk])
    notify_of_password(actor.tenant, actor.user)
    _end_other_access(actor, actor.user, revoke_agent_tokens=False)


def save_new_user(actor: Actor, user: User, password: str | None) -> User:
    """Save a new user, with a handle if it has none. Without a password, it cannot sign in."""
    user.handle = user.handle or _choose_handle(user)
    _set_password(user, password)
    return create(actor, user)


def _change_user(actor: Actor, user: User, values: dict[str, Any], password: str | None) -> User:
    if password is not None:
        _set_password(user, password)
        values = values | {"password": user.password}
    return change(actor, user, **values)


def _end_other_access(actor: Actor, user: User, *, revoke_agent_tokens: bool) -> None:
    """End the sessions and tokens of a user whose password or e-mail has changed.

    The token of the request stays. Of agents, the tokens are revoked that act for the user: those
    of the agents that the user is responsible for.
    """
    revoke_all(actor, user, except_token=actor.token)
    User.objects.filter(pk=user.pk).end_sessions()
    user.refresh_from_db(fields=["sessions_ended_at"])
    if revoke_agent_tokens:
        live = ApiToken.objects.filter(user__responsible=user.pk).live(timezone.now())
        change_all(actor, live, "revoked", revoked_at=timezone.now())


def _lock_to_activate(actor: Actor, user: User, values: dict[str, Any]) -> None:
    """Lock the user and the user's agents, before the user is activated or deactivated.

    Whoever is activated begins without access: what earlier versions or an import have left of it
    is ended. Raises Conflict for an agent whose responsible user is deactivated.
    """
    agents = User.objects.filter(responsible=user.pk)
    lock_users([user, *agents, user.responsible], LockMode.UPDATE)
    if not values["is_active"] or user.is_active:
        return
    responsible = values.get("responsible", user.responsible)
    if responsible is not None and not responsible.is_active:
        raise Conflict(
            gettext(
                "%(responsible)s is responsible for %(user)s and is deactivated. Choose another"
                " responsible user, or activate that one first."
            )
            % {"responsible": responsible, "user": user}
        )
    end_access(actor, [user.pk])


def _set_password(user: User, password: str | None, field: str = "password") -> None:
    if password is None:
        user.set_unusable_password()
        return
    password = normalize("NFKC", password)  # as it is stored
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid.field(field, " ".join(error.messages), "weak_password") from None
    user.set_password(password)


def _check_responsible(kind: str, responsible: User | None) -> None:
    """Raise Invalid unless `responsible` is an active person and the user is an agent.

    The responsible user may create tokens of the agent, so a person has none.
    """
    if responsible and kind != UserKind.AGENT:
        raise Invalid.field("responsible_id", gettext_noop("Only an agent has a responsible user."))
    if responsible and responsible.kind != UserKind.HUMAN:
        raise Invalid.field(
            "responsible_id", gettext_noop("The responsible user must be a person.")
        )
    if responsible:
        check_active(responsible, "responsible_id")


def _choose_handle(user: User) -> str:
    """Return a handle that no user has, derived from the e-mail or name. One query."""
    name = (user.email or "").partition("@")[0] or user.full_name
    base = slugify(name.replace(".", "-"))[:40].strip("-_") or str(user.kind)
    base = base if HANDLE.fullmatch(base) else str(user.kind)
    taken = set(User.objects.filter(handle__startswith=base).values_list("handle", flat=True))
    taken |= {handle for handle in RESERVED_HANDLES if handle == base}
    numbered = (f"{base}-{number}" for number in range(2, len(taken) + 3))
    return base if base not in taken else next(h for h in numbered if h not in taken)


def _refuse_operator(actor: Actor) -> None:
    if actor.is_operator:
        raise Forbidden(
            gettext_noop("An operator can be changed only in the platform's own tenant.")
        )
