"""Find the users that a file names."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Q
from django.utils.translation import gettext

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.db.text import fold_key
from taskflow.http.errors import Invalid

MAX_PEOPLE = 1000  # different users that one file may name


class People:
    """The visible users with the given handles, e-mails or full names. One query for all of them.

    Raises Invalid for more than MAX_PEOPLE different texts.
    """

    def __init__(self, actor: Actor, texts: Collection[str]) -> None:
        folded = {_fold(text) for text in texts} - {""}
        if len(folded) > MAX_PEOPLE:
            raise Invalid(
                gettext("The file names more than %(limit)s people. Split it.")
                % {"limit": MAX_PEOPLE},
                code="too_many",
            )
        emails = {text.strip().lower() for text in texts} - {""}
        self.by_handle: dict[str, User] = {}
        self.by_email: dict[str, User] = {}
        self.by_name: dict[str, list[User]] = {}
        for user in self._load(actor, folded, emails):
            self.by_handle[user.handle] = user
            self.by_email[user.email or ""] = user
            self.by_name.setdefault(_fold(user.full_name), []).append(user)

    @staticmethod
    def _load(actor: Actor, folded: set[str], emails: set[str]) -> list[User]:
        if not folded:
            return []
        names = sorted(folded)
        condition = Q(handle__in=sorted({name.removeprefix("@") for name in names}))
        condition |= Q(email__in=sorted(folded | emails)) | Q(full_name_folded__in=names)
        return list(User.objects.visible_to(actor.viewer).filter(condition).order_by("pk"))

    def find(self, text: str, field: str) -> User:
        """Return the user with this handle, e-mail or full name; a handle comes first.

        Raises Invalid, naming the field, for an unknown user and for the name of several.
        """
        folded = _fold(text)
        handle, email = folded.removeprefix("@"), text.strip().lower()
        if user := self.by_handle.get(handle) or self.by_email.get(email):
            return user
        if user := self.by_email.get(folded):
            return user
        same_name = self.by_name.get(folded, [])
        if len(same_name) == 1:
            return same_name[0]
        if same_name:
            handles = ", ".join(f"@{user.handle}" for user in same_name)
            raise Invalid.field(
                field,
                gettext("Several users are called “%(name)s”: %(handles)s. Write the handle.")
                % {"name": text.strip(), "handles": handles},
                "ambiguous",
            )  # fmt: skip
        raise Invalid.field(
            field,
            gettext("There is no user with the handle, e-mail or full name “%(name)s”.")
            % {"name": text.strip()},
            "unknown_reference",
        )


def _fold(text: str) -> str:
    """Return a handle, e-mail or name in the form in which they are compared."""
    return " ".join(fold_key(text).split())
