"""Find users by id, handle or `me`, and projects by id or key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.db.text import fold
from taskflow.http.converters import is_id
from taskflow.http.errors import NotFound, merge_problems
from taskflow.http.references import build_unknown_reference
from taskflow.http.schema import is_unstorable

FindIds = Callable[[Actor, Iterable[str]], dict[str, int]]
_find_project_ids: list[FindIds] = []  # one function, when the apps are loaded
NO_USER = "There is no such user."


def user_lookup(actor: Actor, ref: str) -> dict[str, int | str]:
    """Return the column and value that select the user with this id or handle; `me` is the actor.

    Raises NotFound for text that is none of these.
    """
    name = fold(ref.strip())
    if name == "me":
        return {"pk": actor.user.pk}
    if is_id(name):
        return {"pk": int(name)}
    if not name.startswith("@") or is_unstorable(name):
        raise NotFound(NO_USER)
    return {"handle": name[1:]}


def find_user(actor: Actor, ref: str) -> User:
    """Return the visible user with this id or handle, or the actor for `me`.

    One query. Raises NotFound.
    """
    rows = User.objects.visible_to(actor.viewer)
    user: User | None = rows.filter(**user_lookup(actor, ref)).first()
    if user is None:
        raise NotFound(NO_USER)
    return user


def find_referenced_user(actor: Actor, ref: int | str, field: str) -> User:
    """Return the visible user that a field of a body names. Raises Invalid that names the field."""
    try:
        return find_user(actor, str(ref))
    except NotFound:
        raise build_unknown_reference(field, "user", ref) from None


def register_project_finder(find_ids: FindIds) -> None:
    """Register the function that finds the ids of visible projects by id or key.

    This app does not know the model of projects.
    """
    _find_project_ids[:] = [find_ids]


def find_referenced_projects(actor: Actor, refs: Sequence[int | str], field: str) -> list[int]:
    """Return the ids of visible projects that a field of a body names by id or key.

    Raises Invalid with a pointer to each project that the actor cannot see.
    """
    (find_ids,) = _find_project_ids
    ids = find_ids(actor, [str(ref) for ref in refs])
    problems = [
        build_unknown_reference(f"{field}/{n}", "project", ref)
        for n, ref in enumerate(refs)
        if str(ref) not in ids
    ]
    if problems:
        raise merge_problems(problems)
    return [ids[str(ref)] for ref in refs]
