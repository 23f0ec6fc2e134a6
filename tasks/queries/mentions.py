"""Mentions: `@handle` of a user in a text in Markdown, such as a comment, a page or a description.

A handle in code, in a URL or in an e-mail address is no mention. Neither is an unknown handle, or
that of a user who is deactivated or cannot see the project: see find_mentioned_users().
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from django.db.models import Q
from markdown_it import MarkdownIt
from markdown_it.token import Token

from accounts.models import HANDLE, User
from taskflow.db.text import fold
from tasks.models import ProjectMember

MAX_MENTIONS = 50  # different users that one text can mention; further ones are no mentions
# What is before the @ keeps john@example.com and packages/@scope from being mentions. A full stop,
# dash or underscore at the end belongs to the sentence, unless find_mentioned_users() finds no
# other user: a handle that ends with one of them cannot be mentioned.
MENTION = re.compile(rf"(?<![\w@/.+-])@({HANDLE.pattern}(?<![_.-]))(?![\w@])", re.IGNORECASE)
# The rules of CommonMark find what is code. HTML is text in TaskFlow. The rules that are left out
# find no code, and take seconds for texts that are written to be slow, such as many brackets.
_parser = MarkdownIt("commonmark", {"html": False})
_parser.disable(["link", "image", "emphasis", "reference"])


def find_mentions(text: str) -> list[str]:
    """Return the handles that a text in Markdown mentions, without @ and in lower case.

    Each one once, in the order of the text, and at most MAX_MENTIONS. They need not be handles of
    users. No query. A text without @ is not parsed; others take about 30 ms for 65,536 characters,
    and up to a second for one that is written to be slow.
    """
    if "@" not in text:
        return []
    handles: dict[str, None] = {}
    for piece in _find_texts(_parser.parse(text)):
        for match in MENTION.finditer(piece):
            handles[fold(match[1])] = None
            if len(handles) == MAX_MENTIONS:
                return list(handles)
    return list(handles)


def find_mentioned_users(handles: Iterable[str], project_id: int) -> dict[str, User]:
    """Return the users with these handles who are active and can see the project, by handle.

    Those are its members and the administrators of the tenant. One query, or none without handles.
    """
    names = sorted({*handles})
    if not names:
        return {}
    members = ProjectMember.objects.filter(project=project_id).values("user_id")
    can_see = Q(is_staff=True) | Q(pk__in=members)
    users = User.objects.active().filter(can_see, handle__in=names)
    return {user.handle: user for user in users}


def _find_texts(tokens: Sequence[Token]) -> Iterator[str]:
    """Yield the pieces of text outside code and addresses in angle brackets."""
    for token in tokens:
        depth = 0  # of such addresses
        for child in token.children or ():
            if child.type in ("link_open", "link_close"):
                depth += child.nesting
            elif child.type == "text" and not depth:
                yield child.content
