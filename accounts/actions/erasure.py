"""Erasure: what identifies a person is removed, and what the person did stays on record."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import transaction
from django.utils.translation import gettext_noop

from accounts.actions.users import end_access
from accounts.models import IdempotencyRecord, User
from accounts.rules import require_staff
from taskflow.audit.actor import Actor
from taskflow.audit.erasure import Names, redact_events, remove_rows_of, replace_names
from taskflow.audit.locks import LockMode
from taskflow.audit.models import Event
from taskflow.audit.recorder import change, lock
from taskflow.audit.values import REDACTED
from taskflow.db.session import current_session
from taskflow.http.errors import Conflict

# Of the events about a user, the fields whose values identify nobody.
IMPERSONAL_FIELDS = frozenset({"is_active", "is_staff", "is_superuser", "kind", "responsible"})
NAME_FIELDS = ("email", "handle", "full_name")


def erase_user(actor: Actor, user: User) -> User:
    """Remove what identifies a deactivated user, irreversibly. A repeated call removes the rest.

    The name, handle, e-mail and password are removed from the row, and from all events about the
    user. The user's tokens and other rows that belong to the user alone are deleted, and so are the
    responses that are stored for the user's retries. Mentions of the handle, the e-mail and the
    full name are replaced in all texts of the tenant, in events and in stored responses.
    What the user did stays on record, for user 7 under the handle erased-7.

    On SQLite, deleted content is overwritten after the commit. Reads the whole tenant: see
    replace_names(). Raises Conflict while the user is active.
    """
    require_staff(actor)
    lock(user, "is_active", "email", mode=LockMode.UPDATE_KEY)
    if user.is_active:
        raise Conflict(gettext_noop("Offboard or deactivate this user first."), code="active")
    pseudonym = f"erased-{user.pk}"
    address = f"{pseudonym}@erased.invalid"
    names = Names(dict(_names_of(user, pseudonym, address)))
    end_access(actor, [user.pk])
    user.set_unusable_password() if user.has_usable_password() else None
    change(
        actor,
        user,
        "erased",
        full_name="",
        handle=pseudonym,
        email=address if user.email else None,
        password=user.password,
    )
    redact_events(User, [user.pk], kept_fields=IMPERSONAL_FIELDS)
    remove_rows_of(actor, user)
    IdempotencyRecord.objects.filter(user_id=user.pk).delete()
    Event.objects.filter(actor=user).exclude(address=None).update(address=None)
    replace_names(actor, names)
    transaction.on_commit(current_session().overwrite_deleted_content)
    return user


def _names_of(user: User, pseudonym: str, address: str) -> Iterator[tuple[str, str]]:
    """Yield the present and former names of the user in texts, each with its replacement.

    A handle is searched for as a mention. A full name of one word is left out, because it may be
    any word. So are names that another user has now.
    """
    found: dict[str, set[str]] = {name: {getattr(user, name) or ""} for name in NAME_FIELDS}
    events = Event.objects.filter(subject_type="user", subject_id=user.pk)
    for changes in events.values_list("changes", flat=True):
        for name in changes.keys() & found.keys():
            found[name] |= {text for text in changes[name] if isinstance(text, str)}
    others = User.objects.exclude(pk=user.pk)
    for name, texts in found.items():
        taken = set(others.filter(**{f"{name}__in": texts}).values_list(name, flat=True))
        for text in texts - taken - {"", REDACTED, pseudonym, address}:
            if name == "handle":
                yield f"@{text}", f"@{pseudonym}"
            elif name == "email":
                yield text, address
            elif " " in text.strip():
                yield text.strip(), pseudonym
