"""Only the author of a comment may change its text, so nobody else can restore a former one."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext_noop

from taskflow.audit.actor import Actor
from taskflow.audit.undo.plan import Obstacle, Plan
from tasks.models import Comment


def find_texts_of_others(actor: Actor, plan: Plan) -> Iterable[Obstacle]:
    """Yield the comments of other users that would get a former text."""
    for reversal in plan.reversals_of(Comment):
        is_edit = "body" in reversal.values and not reversal.is_removed
        if is_edit and reversal.row.author_id != actor.user.pk:
            yield reversal.obstacle(
                "not_author", gettext_noop("Only the author of a comment may change it.")
            )
