"""Problems as sentences on screens.

The detail of a problem is written for clients of the API: it names parameters and operations. For
the codes of SENTENCES, a screen shows the sentence that stands here. In the details of all other
codes, write_in_words() replaces what only a client of the API can do or read.
taskflow/tests/test_screen_refusals.py finds details for which neither is enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from taskflow.admin.times import show_time
from taskflow.http.errors import Problem

MAX_REASONS = 20  # listed below the sentence of one refusal
TASK_PAGE = "admin:tasks_task_change"

TRY_AGAIN = _("Other people are changing the same things at this moment. Try it again.")
TRY_LATER = _("The database is not available at this moment. Wait a little, then try it again.")
FORCE = re.compile(r",? or (?:pass|send) force=true")
NAME = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")  # of a column, or of a field of the API
TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
QUOTATION = re.compile(r"(“[^”]*”|„[^“]*“)")  # in English and in German
LABELS: Mapping[str, Promise] = {
    "due_on": _("due day"),
    "due_date": _("due time"),
    "external_ref": _("external id"),
    "blocked_by": _("blockers"),
}
WHO_AND_WHEN = frozenset({"changed_since"})  # what the entries of such a problem say
# By the code of a problem, or of an entry of its `errors`.
SENTENCES: Mapping[str, Promise] = {
    "in_trash": _("The task or project that it belongs to is in the trash. Restore that first."),
    "parent_in_trash": _("The task above this one is in the trash. Restore that task first."),
    "claimed": _("An agent works on the task at this moment, and only that agent may change it."),
    "claim_lost": _("The claim of the task has ended or expired. Claim the task again."),
    "no_second_factor": _("You have no second factor. Add one on the page “My account”."),
    "second_factor_mandatory": _(
        "The tenant requires a second factor of its administrators, so it cannot be removed."
    ),
    "changed_since": _("Another person has changed the same fields. Compare the values."),
    "precondition_failed": _("The page shows an older state. Load it again."),
    "in_progress": _("The same change is being made already. Load the page again in a moment."),
    "contended": TRY_AGAIN,
    "lock_timeout": TRY_AGAIN,
    "database_busy": TRY_AGAIN,
    "overloaded": TRY_AGAIN,
    "unavailable": TRY_LATER,
    "database_silent": TRY_LATER,
    "read_only": _("The database accepts no changes at this moment. Try it again later."),
    "storage_full": _("The disk of the database is full. Nothing was changed. Tell the operator."),
    "statement_timeout": _("This takes too long. Choose fewer things at once."),
    "insufficient_scope": _("You may not do this. Ask an administrator."),
    "internal_error": _("The server failed, and nothing was changed. Tell the operator."),
    "too_many_requests": _("There were too many requests. Wait a minute, then try it again."),
    "outcome_missing": _("A done task has an outcome. Choose completed or cancelled."),
    "outcome_of_open_task": _("An open task has no outcome. Set the status to done."),
    "cannot_undo": _("Some of the changes cannot be undone. Choose to skip these."),
    "exists": _(
        "A task with this key or external id is in the project already. Choose to change it, or to"
        " leave such rows out."
    ),
    "ambiguous_date": _("It is not clear which number is the day. Choose how dates are written."),
    "too_large": _("This is too much at once. Choose fewer things, or a smaller file."),
}


class Reason(NamedTuple):
    """One line below the sentence of a refusal, with the page that it concerns, if there is one."""

    text: str
    address: str | None


class Refusal(NamedTuple):
    """Why something was refused, for a screen."""

    sentence: str
    reasons: list[Reason]


def describe_refusal(problem: Problem) -> Refusal:
    """Return the sentence of a problem for a screen, and at most MAX_REASONS lines about it.

    Each line names one task or value that prevents the change. Nothing is queried.
    """
    sentence = sentence_of(problem.code, problem.detail)
    reasons = [_read_reason(error) for error in problem.errors[:MAX_REASONS]]
    return Refusal(sentence, [r for r in reasons if r.text not in (sentence, problem.detail)])


def refusal_as_html(problem: Problem) -> SafeString:
    """Return the sentence of a problem with its lines, of which each that has a page is a link."""
    refusal = describe_refusal(problem)
    lines = [
        (format_html('<a class="underline" href="{}">{}</a>', address, text) if address else text,)
        for text, address in refusal.reasons
    ]
    return format_html("{}{}", refusal.sentence, format_html_join("", "<br>{}", lines))


def sentence_of(code: str, detail: str) -> str:
    """Return the sentence of a screen for a code, or the detail in the words of screens."""
    return str(SENTENCES[code]) if code in SENTENCES else write_in_words(detail)


def list_sentences(problem: Problem) -> list[str]:
    """Return the sentence of each error of a problem, or its own sentence if it has no errors."""
    errors = problem.errors or [{"code": problem.code, "detail": problem.detail}]
    return [sentence_of(str(error["code"]), str(error["detail"])) for error in errors]


def write_in_words(detail: str) -> str:
    """Return the detail of a problem without options of requests and names of columns, and with
    times as screens show them: in the zone of the tenant.

    It is in the language of the page. A detail that is always the same is translated here; one with
    values has been translated when it was made. What people have written stands between quotation
    marks, and is not changed.
    """
    return "".join(
        part if part.startswith(("“", "„")) else _write_part_in_words(part)
        for part in QUOTATION.split(gettext(detail))
    )


def _write_part_in_words(text: str) -> str:
    return TIME.sub(_show_time, NAME.sub(_label_of, FORCE.sub("", text)))


def _show_time(time: re.Match[str]) -> str:
    return show_time(datetime.fromisoformat(time[0]))


def _label_of(name: re.Match[str]) -> str:
    known = LABELS.get(name[0])
    return str(known) if known else name[0].removesuffix("_id").replace("_", " ")


def _read_reason(error: Mapping[str, Any]) -> Reason:
    task_id = error.get("task_id")
    address = reverse(TASK_PAGE, args=[task_id]) if task_id else None
    code, detail = str(error["code"]), str(error["detail"])
    text = write_in_words(detail) if code in WHO_AND_WHEN else sentence_of(code, detail)
    return Reason(text, address)
