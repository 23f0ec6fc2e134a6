"""What can happen to tenants, people and tokens. Rule first, then the write door."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError, Q, RestrictedError
from django.utils import timezone
from django.utils.text import slugify

from accounts import tokens
from accounts.models import (
    HANDLE,
    PLATFORM,
    RESERVED_HANDLES,
    RESERVED_SUBDOMAINS,
    SUBDOMAIN,
    ApiToken,
    Tenant,
    User,
    UserKind,
)
from accounts.rules import (
    latest_expiry,
    require_another_staff,
    require_hold_over,
    require_hold_over_token,
    require_no_stronger,
    require_own_password,
    require_staff,
)
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.models import Via
from taskflow.audit.recorder import (
    change,
    change_all,
    create,
    erase,
    lock_all,
    remove,
    remove_all,
)
from taskflow.http.errors import Conflict, Forbidden, Invalid
from taskflow.tenancy import inside

SIGN_IN_LASTS = timedelta(days=30)
TOKEN_LASTS = timedelta(days=90)
ROTATION_OVERLAP = timedelta(hours=24)  # both tokens work, so that clients can change over

# ---- tenants ------------------------------------------------------------------------------------


def register_tenant(
    *,
    tenant_name: str,
    subdomain: str,
    full_name: str,
    email: str,
    password: str,
    via: Via,
    request_id: str = "",
) -> Actor:
    """Create a tenant and its first administrator; return him as the actor, outside any scope.

    Raises Conflict when the subdomain is taken, Invalid when it is reserved or the password weak.
    """
    _check_subdomain(subdomain)
    tenant = Tenant(name=tenant_name, subdomain=subdomain)
    user = User(full_name=full_name, email=email, is_staff=True)
    try:
        return found_tenant(tenant, user, password=password, via=via, request_id=request_id)
    except IntegrityError:  # all else in a new tenant is new, too
        raise Conflict("This subdomain is taken. Choose another.", code="taken") from None


def _check_subdomain(subdomain: str) -> None:
    """Raise Invalid for one that nobody may register, whether or not it exists already."""
    if subdomain in RESERVED_SUBDOMAINS or not SUBDOMAIN.fullmatch(subdomain):
        raise Invalid.field("subdomain", f"“{subdomain}” cannot be a subdomain. Choose another.")
    if subdomain == settings.DEFAULT_TENANT.lower():
        # Its administrator would receive every sign-in at a host without a subdomain.
        raise Invalid.field(
            "subdomain",
            f"“{subdomain}” is the default tenant of this installation and cannot be registered."
            " Choose another.",
        )


def create_operator(*, email: str, full_name: str, password: str) -> User:
    """Create an operator in the platform tenant, which is made when he is the first."""
    user = User(full_name=full_name, email=email, is_staff=True, is_superuser=True)
    platform = Tenant.objects.filter(subdomain=PLATFORM).first()
    if platform is None:
        tenant = Tenant(name="Platform", subdomain=PLATFORM)
        return found_tenant(tenant, user, password=password, via=Via.COMMAND).user
    with inside(platform):
        return _save_user(Actor(user, platform, via=Via.COMMAND), user, password)


def found_tenant(
    tenant: Tenant, first: User, *, password: str | None, via: Via, request_id: str = ""
) -> Actor:
    """Save a tenant and its first user, who is recorded as having made both.

    Raises IntegrityError when the subdomain is taken.
    """
    tenant.full_clean(validate_unique=False)
    actor = Actor(first, tenant, via=via, request_id=request_id)
    with transaction.atomic():  # a tenant without anybody in it would be taken for ever
        tenant.save(force_insert=True)
        with inside(tenant):
            _save_user(actor, first, password)
    return actor


def update_tenant(actor: Actor, **values: Any) -> Tenant:
    """Change the tenant the actor works in: its name or time zone. For administrators."""
    require_staff(actor)
    # A tenant stands outside the wall, but has all that the door asks of a row.
    return change(actor, cast(Any, actor.tenant), **values)  # type: ignore[no-any-return]


# ---- people and agents --------------------------------------------------------------------------


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

    A person needs an e-mail; without a password he cannot sign in yet. An agent has no password
    and answers to `responsible`, by default to who made it. A handle is made when none is given.
    """
    require_staff(actor)
    if kind == UserKind.AGENT and (password or is_staff):
        raise Invalid.field("kind", "An agent has no password and is no administrator.")
    _check_responsible(kind, responsible)
    if kind == UserKind.AGENT and responsible is None:
        responsible = actor.member
    user = User(
        kind=kind,
        handle=handle or "",
        email=email,
        full_name=full_name,
        is_staff=is_staff,
        responsible=responsible,
    )
    return _save_user(actor, user, password)


def update_user(actor: Actor, user: User, **values: Any) -> User:
    """Change what was given. A new password revokes the user's tokens; deactivating them revokes
    those of the agents they are responsible for, too.
    """
    require_staff(actor)
    password = values.pop("password", None)
    if values.get("is_active") is False or values.get("is_staff") is False:
        require_another_staff(user)
    if user.kind == UserKind.AGENT and (password or values.get("is_staff")):
        raise Invalid.field("kind", "An agent has no password and is no administrator.")
    _check_responsible(user.kind, values.get("responsible"))
    _change_user(actor, user, values, password)
    if password:
        revoke_all(actor, user)
    if not user.is_active:
        end_access(actor, [user.pk])
    return user


def deactivate_user(actor: Actor, user: User) -> User:
    """End the user's access, and that of the agents the user is responsible for."""
    return update_user(actor, user, is_active=False)


def delete_user(actor: Actor, user: User) -> None:
    """Raises Conflict with a count of what he owns; deactivate him instead."""
    require_staff(actor)
    require_another_staff(user)
    try:
        remove_all(actor, ApiToken.objects.filter(user=user))
        remove(actor, user)
    except (ProtectedError, RestrictedError) as error:
        rows = (
            error.protected_objects
            if isinstance(error, ProtectedError)
            else error.restricted_objects
        )
        owned = Counter(str(row._meta.verbose_name_plural) for row in rows)
        listed = ", ".join(f"{count} {name}" for name, count in sorted(owned.items()))
        raise Conflict(
            f"{user} still stands behind {listed}. Hand them over, or deactivate him instead.",
            code="owns_things",
            errors=[
                {"code": "owned", "detail": f"{count} {name}", "kind": name, "count": count}
                for name, count in sorted(owned.items())
            ],
        ) from None


def retire_users(actor: Actor, users: Sequence[User]) -> int:
    """Deactivate the users and end their access; return how many tokens were live.

    Raises Conflict for the last administrator.
    """
    require_staff(actor)
    require_another_staff(*users)
    ids = [user.pk for user in users]
    change_all(actor, User.objects.filter(pk__in=ids), "offboarded", is_active=False)
    return end_access(actor, ids)


def end_access(actor: Actor, user_ids: Sequence[int]) -> int:
    """Revoke the live tokens of those of the users who are deactivated, and of the agents whose
    responsible user is one of them; return how many.

    Whatever deactivates users calls it in the same transaction. Their sessions of the admin end as
    well. Nothing brings tokens and sessions back.
    """
    User.objects.filter(pk__in=user_ids, is_active=False).end_sessions()
    theirs = Q(user__in=user_ids) | Q(user__responsible__in=user_ids)
    deactivated = Q(user__is_active=False) | Q(user__responsible__is_active=False)
    live = ApiToken.objects.filter(theirs, deactivated).live(timezone.now())
    return change_all(actor, live, "revoked", revoked_at=timezone.now())


def erase_user(actor: Actor, user: User) -> User:
    """Wipe his name, handle and e-mail from his row and from the log, for good.

    What he did stays on record, under “erased-7”. Raises Conflict while he is active.
    """
    require_staff(actor)
    if user.is_active:
        raise Conflict("Off-board or deactivate him first.", code="active")
    name = f"erased-{user.pk}"
    email = f"{name}@erased.invalid" if user.email else None
    erase(actor, user, full_name="", handle=name, email=email)
    end_access(actor, [user.pk])
    return user


def update_me(actor: Actor, **values: Any) -> User:
    """Change one's own name, handle or e-mail."""
    _require_home(actor)
    return _change_user(actor, actor.user, values, None)


def change_password(actor: Actor, *, current_password: str, new_password: str) -> None:
    """Set one's own password. Ends every other token one has."""
    _require_home(actor)
    require_own_password(actor)
    if not actor.user.check_password(current_password):
        raise Invalid.field("current_password", "This is not your current password.")
    _set_password(actor.user, new_password, "new_password")
    change(actor, actor.user, password=actor.user.password)
    revoke_all(actor, actor.user, keep=actor.token)


# ---- tokens -------------------------------------------------------------------------------------


def sign_in(user: User, tenant: Tenant, *, request_id: str = "") -> tuple[ApiToken, str]:
    """Make a token for everything the user may do. Return it and its text.

    Raises Conflict when the user is being deactivated at this moment.
    """
    actor = Actor(user, tenant, request_id=request_id)
    _hold_active(user)
    ends = timezone.now() + SIGN_IN_LASTS
    return issue_token(actor, user, "sign-in", TokenScope.ADMIN, ends, is_sign_in=True)


def create_token(
    actor: Actor,
    *,
    name: str,
    scope: TokenScope,
    expires_in_days: int | None = None,
    project_ids: Sequence[int] | None = None,
    user: User | None = None,
) -> tuple[ApiToken, str]:
    """Make a token for oneself, or for an agent one is responsible for. Return it and its text.

    It lasts 90 days unless told otherwise, or as long as the token that makes it if that ends
    before. Raises Forbidden when it would have more rights than that, or outlast it.
    """
    owner = user or actor.user
    require_hold_over(actor, owner)
    if owner.tenant_id != actor.tenant.pk:
        raise Forbidden("An operator's token belongs to the platform.")
    _hold_active(owner)
    lasts = TOKEN_LASTS if expires_in_days is None else timedelta(days=expires_in_days)
    ends = timezone.now() + lasts
    if expires_in_days is None:
        ends = min(ends, latest_expiry(actor) or ends)
    require_no_stronger(actor, scope, project_ids, ends)
    return issue_token(actor, owner, name, scope, ends, project_ids)


def rotate_token(actor: Actor, token: ApiToken) -> tuple[ApiToken, str]:
    """Make a successor with the same rights and length of life. The old one ends in 24 hours.

    A successor ends at the latest with the token that makes it: no token prolongs itself.
    """
    require_hold_over_token(actor, token)
    if not token.is_live:
        raise Conflict("An expired or revoked token has no successor. Create a new one.")
    _hold_active(token.user)
    now, latest, scope = timezone.now(), latest_expiry(actor), TokenScope(token.scope)
    expires_at = None if token.expires_at is None else now + (token.expires_at - token.created_at)
    if latest is not None:
        expires_at = min(expires_at or latest, latest)
    require_no_stronger(actor, scope, token.project_ids, expires_at)
    issued = issue_token(
        actor, token.user, token.name, scope, expires_at, token.project_ids, verb="rotated"
    )
    ends = now + ROTATION_OVERLAP
    if token.expires_at is None or token.expires_at > ends:
        change(actor, token, "rotated", expires_at=ends)
    return issued


def revoke_token(actor: Actor, token: ApiToken) -> ApiToken:
    """End a token now. Revoking twice changes nothing."""
    require_hold_over_token(actor, token)
    return token if token.revoked_at else change(actor, token, "revoked", revoked_at=timezone.now())


def revoke_all(actor: Actor, user: User, *, keep: ApiToken | None = None) -> int:
    """End every token of his. Return how many were live."""
    live = ApiToken.objects.filter(user=user).live(timezone.now())
    others = live.exclude(pk=keep.pk) if keep else live
    return change_all(actor, others, "revoked", revoked_at=timezone.now())


def issue_token(
    actor: Actor,
    user: User,
    name: str,
    scope: TokenScope,
    expires_at: datetime | None,
    project_ids: Sequence[int] | None = None,
    *,
    verb: str = "created",
    entropy: bytes | None = None,
    is_sign_in: bool = False,
) -> tuple[ApiToken, str]:
    """Make a token with just these rights; the doors above decide them. Return it and its text.

    With `entropy` (32 bytes) the text is always the same.
    """
    text = tokens.make_token_text(actor.tenant.pk, entropy or actor.entropy)
    token = ApiToken(
        user=user,
        name=name,
        prefix=text[: tokens.PREFIX_LENGTH],
        digest=tokens.compute_digest(text),
        scope=scope,
        project_ids=None if project_ids is None else sorted(set(project_ids)),
        expires_at=expires_at,
        is_sign_in=is_sign_in,
    )
    return create(actor, token, verb), text


# ---- helpers ------------------------------------------------------------------------------------


def _save_user(actor: Actor, user: User, password: str | None) -> User:
    user.handle = user.handle or _free_handle(user)
    _set_password(user, password)
    return create(actor, user)


def _change_user(actor: Actor, user: User, values: dict[str, Any], password: str | None) -> User:
    if password is not None:
        _set_password(user, password)
        values = values | {"password": user.password}
    return change(actor, user, **values)


def _set_password(user: User, password: str | None, field: str = "password") -> None:
    if password is None:
        user.set_unusable_password()
        return
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise Invalid.field(field, " ".join(error.messages), "weak_password") from None
    user.set_password(password)


def _check_responsible(kind: str, responsible: User | None) -> None:
    """He may make tokens in the other's name, so nobody stands behind a person."""
    if responsible and kind != UserKind.AGENT:
        raise Invalid.field("responsible_id", "Only for an agent is somebody else responsible.")
    if responsible and responsible.kind != UserKind.HUMAN:
        raise Invalid.field("responsible_id", "A person has to be responsible, not an agent.")
    if responsible and not responsible.is_active:
        raise Invalid.field("responsible_id", f"{responsible} is deactivated.")


def _hold_active(user: User) -> None:
    """Keep the user, and who is responsible for the user, from being deactivated until we commit.

    Else a token made at this moment would outlive the deactivation. Raises Conflict when one of
    them is deactivated.
    """
    people = [user, *filter(None, [user.responsible])]
    lock_all(people, "is_active")
    for one in people:
        if not one.is_active:
            raise Conflict(f"{one} is deactivated. Activate this user first.")


def _free_handle(user: User) -> str:
    """A handle from his name or e-mail that nobody has."""
    source = (user.email or "").partition("@")[0] or user.full_name
    base = slugify(source.replace(".", "-"))[:40].strip("-_") or str(user.kind)
    base = base if HANDLE.fullmatch(base) else str(user.kind)
    taken = set(User.objects.filter(handle__startswith=base).values_list("handle", flat=True))
    taken |= {handle for handle in RESERVED_HANDLES if handle == base}
    numbered = (f"{base}-{number}" for number in range(2, len(taken) + 3))
    return base if base not in taken else next(h for h in numbered if h not in taken)


def _require_home(actor: Actor) -> None:
    if actor.is_operator:
        raise Forbidden("An operator is changed in the platform's own tenant.")
