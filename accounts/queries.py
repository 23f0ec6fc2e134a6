"""Find a user by what a path names: an id, a handle or `me`."""

from __future__ import annotations

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.db.text import fold
from taskflow.http.converters import is_id
from taskflow.http.errors import NotFound
from taskflow.http.schema import is_unstorable

NO_USER = "There is no such user."


def user_lookup(actor: Actor, ref: str) -> dict[str, int | str]:
    """Return the column and value that select the user with this id or handle; `me` is the actor.

    Raises NotFound for text that is none of these.
    """
    if ref == "me":
        return {"pk": actor.user.pk}
    if is_id(ref):
        return {"pk": int(ref)}
    if not ref.startswith("@") or is_unstorable(ref):
        raise NotFound(NO_USER)
    return {"handle": fold(ref[1:])}


def find_user(actor: Actor, ref: str) -> User:
    """Return the visible user with this id or handle, or the actor for `me`.

    One query. Raises NotFound.
    """
    rows = User.objects.visible_to(actor.viewer)
    user: User | None = rows.filter(**user_lookup(actor, ref)).first()
    if user is None:
        raise NotFound(NO_USER)
    return user
