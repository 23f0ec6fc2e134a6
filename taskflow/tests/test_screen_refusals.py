"""What screens say about problems: no options of requests, no names of columns or constraints."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from taskflow.admin.refusals import SENTENCES, describe_refusal, refusal_as_html, write_in_words
from taskflow.error_codes import ERROR_CODES, FIELD_CODES
from taskflow.http.errors import Conflict, Invalid, Problem

pytestmark = pytest.mark.one_database

ROOT = Path(__file__).parents[2]
MARKS = {"gettext", "gettext_noop", "ngettext", "_"}
CODES = {code for codes in ERROR_CODES.values() for code in codes} | FIELD_CODES.keys()
# Packages whose problems the pages of the admin can meet.
MET_BY_THE_ADMIN = (
    "tasks/changes", "tasks/actions", "tasks/models", "tasks/csv", "tasks/rules.py", "tasks/queries/trash.py",
    "accounts/actions", "accounts/models", "accounts/rules.py", "accounts/limits.py", "accounts/passwords.py",
    "taskflow/audit", "taskflow/http/database_errors.py", "taskflow/http/unavailable.py",
)  # fmt: skip
FOR_REQUESTS = re.compile(
    r"force=|`|\b(?:POST|PATCH|PUT|DELETE|GET) /|[Hh]eader\b|\b[Ss]end\b(?! it again)(?! the request again)"
    r"|\bparameter\b|\b[a-z]+_[a-z]+|_key\b|=true"
)
# Problems of requests that no page of the admin sends, by a part of their details.
OF_REQUESTS_ONLY = (
    "on behalf of",
    "send after=0",
    "or after=0 to begin",
    "Send fewer",
    "and send it",
    "Send the id of a claim",
    "delimiter",
    "a JSON array of issues",
    "one of these charsets",
    "This token was created by another user",
)
# Problems that only the API can meet: of its tokens and operations, and of formats of imports that
# the page does not offer. The last one is made of texts that are marked where they are.
NEVER_SHOWN = (
    "A token ",
    "This token ",
    "With a token ",
    "who created your token",
    "Use the token alone",
    "An earlier operation",
    "Another row has this number",
    "The number cannot be kept",
    "Only a task whose status",
    "A new task needs a title",
    "Operators cannot claim tasks",
    "is no field.",
    "The file has no column",
    "The file is not",
    "The file cannot be read as JSON",
    "Use utf-8",
    "Your user is deactivated",
    "“x”: “x”“x”",
)
WORDS_OF_SCREENS = ("The invitation is",)  # it is sent by e-mail


def problem_kinds(base=Problem):
    yield base
    for kind in base.__subclasses__():
        yield from problem_kinds(kind)


KINDS = {kind.__name__: kind for kind in problem_kinds()}


def text_of(node):
    """Return the constant parts of a text, or None for what is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "“x”" for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        text = text_of(node.left)
        return None if text is None else re.sub(r"%(\(\w+\))?[sd]", "“x”", text)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return text_of(node.args[0]) if node.func.id in MARKS else None
    return None


class BuiltProblem(NamedTuple):
    code: str
    detail: str
    is_marked: bool  # for translation


def problems_in(path):
    """Yield each problem that a module builds with a text."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        kind, arguments = None, node.args
        if isinstance(node.func, ast.Name):
            kind = KINDS.get(node.func.id)
        elif isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            kind = KINDS.get(node.func.value.id)
            is_of_field = node.func.attr in ("field", "parameter")
            arguments = arguments[1:] if is_of_field else arguments
        written = [argument for argument in arguments if text_of(argument) is not None]
        texts = [text_of(argument) for argument in written]
        if kind is None or not texts or " " not in texts[0]:  # a code after a variable
            continue
        given = [text_of(k.value) for k in node.keywords if k.arg == "code"]
        code = next(filter(None, [*given, *texts[1:2]]), kind.code)
        yield BuiltProblem(code, texts[0], is_marked(written[0]))


def is_marked(node):
    """Return whether a text, or the text into which values are inserted, is marked."""
    calls = [inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    return any(isinstance(func, ast.Name) and func.id in MARKS for func in calls)


def find_met_problems():
    """Return the problems of the packages that pages of the admin can meet."""
    paths = [ROOT / name for name in MET_BY_THE_ADMIN]
    files = [file for p in paths for file in (p.rglob("*.py") if p.is_dir() else [p])]
    return [problem for file in files for problem in problems_in(file)]


def test_every_sentence_is_of_a_code_and_speaks_of_screens():
    assert SENTENCES.keys() <= CODES
    assert [str(text) for text in SENTENCES.values() if FOR_REQUESTS.search(str(text))] == []


def test_no_problem_that_a_screen_can_show_speaks_of_requests():
    met = find_met_problems()

    assert len(met) > 100
    shown = [write_in_words(p.detail) for p in met if p.code not in SENTENCES]
    wrong = [text for text in shown if FOR_REQUESTS.search(text)]
    assert [
        text
        for text in wrong
        if not any(part in text for part in (*OF_REQUESTS_ONLY, *WORDS_OF_SCREENS))
    ] == []


def test_every_problem_that_a_screen_can_show_is_marked_for_translation():
    """The catalog has every marked text in German: see test_languages.py."""
    unmarked = [
        p.detail for p in find_met_problems() if p.code not in SENTENCES and not p.is_marked
    ]
    not_shown = (*OF_REQUESTS_ONLY, *NEVER_SHOWN)

    assert [text for text in unmarked if not any(part in text for part in not_shown)] == []
    assert [part for part in NEVER_SHOWN if not any(part in text for text in unmarked)] == []


IN_WORDS = {"sentence_of", "write_in_words"}  # the functions that take the detail of a problem


def raw_details_in(path):
    """Yield the lines that read the detail of a problem without putting it into words."""
    tree = ast.parse(path.read_text())
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    inside = {
        id(inner)
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id in IN_WORDS
        for inner in ast.walk(call)
    }
    for node in ast.walk(tree):
        is_attribute = isinstance(node, ast.Attribute) and node.attr == "detail"
        is_entry = isinstance(node, ast.Subscript) and text_of(node.slice) == "detail"
        if (is_attribute or is_entry) and id(node) not in inside:
            yield f"{path.relative_to(ROOT)}:{node.lineno}"


def test_no_page_shows_the_detail_of_a_problem_itself():
    packages = [ROOT / name for name in ("accounts/admin", "tasks/admin", "taskflow/admin")]
    files = [file for package in packages for file in package.rglob("*.py")]

    assert len(files) > 50
    raw = [line for file in files for line in raw_details_in(file)]
    assert [line for line in raw if not line.startswith("taskflow/admin/refusals.py")] == []
    templates = [*ROOT.glob("*/templates/**/*.html")]
    shown = {
        t.name for t in templates if re.search(r"(problem|error|refusal)\.detail", t.read_text())
    }
    assert shown == set()


def test_names_of_columns_are_words_and_quotations_stay():
    detail = (
        "The task “force_it, or send force=true” has a due_on. Complete it, or send force=true."
    )

    assert write_in_words(detail) == (
        "The task “force_it, or send force=true” has a due day. Complete it."
    )


def test_refusal_lists_the_tasks_that_prevent_a_change_as_links():
    error = {"code": "open_subtask", "detail": "The subtask APO-2 “<b>” is open.", "task_id": 7}
    problem = Conflict("APO-1 has work. Complete it, or pass force=true.", errors=[error])

    assert describe_refusal(problem).reasons[0].address == "/admin/tasks/task/7/change/"
    html = refusal_as_html(problem)
    assert html.startswith("APO-1 has work. Complete it.<br><a ")
    assert "“&lt;b&gt;”" in html
    assert len(describe_refusal(Invalid("x", errors=[error] * 30)).reasons) == 20
