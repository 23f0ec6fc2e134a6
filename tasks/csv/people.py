"""Find the users that a file names."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Q
from django.db.models.functions import Lower

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.http.errors import Invalid

MAX_PEOPLE = 1000  # different users that one file may name


class People:
    """The visible users with the given handles, e-mails or full names. One query for all of them.

    Raises Invalid for more than MAX_PEOPLE different texts.
    """

    def __init__(self, actor: Actor, texts: Iterable[str]) -> None:
        folded = {_fold(text) for text in texts} - {""}
        if len(folded) > MAX_PEOPLE:
            raise Invalid(
                f"The file names more than {MAX_PEOPLE} people. Split it.", code="too_many"
            )
        self.by_handle: dict[str, User] = {}
        self.by_email: dict[str, User] = {}
        self.by_name: dict[str, list[User]] = {}
        for user in self._load(actor, folded):
            self.by_handle[user.handle] = user
            self.by_email[user.email or ""] = user
            self.by_name.setdefault(_fold(user.full_name), []).append(user)

    @staticmethod
    def _load(actor: Actor, folded: set[str]) -> list[User]:
        if not folded:
            return []
        names = sorted(folded)
        users = User.objects.visible_to(actor.viewer).annotate(folded_name=Lower("full_name"))
        condition = Q(handle__in=sorted({name.removeprefix("@") for name in names}))
        condition |= Q(email__in=names) | Q(folded_name__in=names)
        return list(users.filter(condition).order_by("pk"))

    def find(self, text: str, field: str) -> User:
        """Return the user with this handle, e-mail or full name; a handle comes first.

        Raises Invalid, naming the field, for an unknown user and for the name of several.
        """
        folded = _fold(text)
        if user := self.by_handle.get(folded.removeprefix("@")) or self.by_email.get(folded):
            return user
        same_name = self.by_name.get(folded, [])
        if len(same_name) == 1:
            return same_name[0]
        if same_name:
            handles = ", ".join(f"@{user.handle}" for user in same_name)
            raise Invalid.field(
                field, f"Several users are called “{text.strip()}”: {handles}. Write the handle.",
                "ambiguous",
            )  # fmt: skip
        raise Invalid.field(
            field,
            f"There is no user with the handle, e-mail or full name “{text.strip()}”.",
            "unknown_reference",
        )


def _fold(text: str) -> str:
    """Return a handle, e-mail or name in the form in which they are compared."""
    return " ".join(text.lower().split())
