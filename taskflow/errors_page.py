"""The page about all error codes, for people: /api/v1/docs/errors and docs/errors.md.

Both are written from the tables of error_codes.py. `python -m taskflow.errors_page` prints the
Markdown.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html import escape
from http import HTTPStatus
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from taskflow.error_codes import ERROR_CODES, FIELD_CODES, REMEDIES

INTRODUCTION = (
    "Every error of the API is a problem document (RFC 9457). Programs decide by its code, which"
    " never changes its meaning. The detail is a sentence for people, and can change."
)
FIELDS = (
    "The member errors of a problem describes single fields, parameters and rows. Each entry has a"
    " code of its own. An entry about a whole operation of a bulk request has the code of its"
    " problem."
)
STYLE = """\
body { font-family: sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { border: 1px solid #999; padding: .3rem .6rem;
text-align: left; vertical-align: top; } :target { background: #ffc; }"""


class Row(NamedTuple):
    """One code. `status` is empty for the code of a single field."""

    status: str
    code: str
    occurs: str
    remedy: str


def list_problem_codes() -> Iterator[Row]:
    """Yield the codes of problems, by status."""
    for status, sentences in ERROR_CODES.items():
        for code, sentence in sentences.items():
            yield Row(str(status), code, sentence, REMEDIES[code])


def list_field_codes() -> Iterator[Row]:
    """Yield the codes of entries in `errors`, in the order of the table."""
    for code, (occurs, remedy) in FIELD_CODES.items():
        yield Row("", code, occurs, remedy)


def write_markdown() -> str:
    """Return the text of docs/errors.md."""
    lines = [
        "# Errors",
        "",
        INTRODUCTION,
        "The type is the URL of this page on the installation: `/api/v1/docs/errors#taken`.",
        "",
        "| status | code | when | what to do |",
        "|---|---|---|---|",
        *(f"| {r.status} | `{r.code}` | {r.occurs} | {r.remedy} |" for r in list_problem_codes()),
        "",
        "## Fields, parameters and rows",
        "",
        FIELDS,
        "",
        "| code | when | what to do |",
        "|---|---|---|",
        *(f"| `{r.code}` | {r.occurs} | {r.remedy} |" for r in list_field_codes()),
    ]
    return "\n".join(lines) + "\n"


def write_html() -> str:
    """Return the page. It needs no script, and each code of a problem is an anchor."""
    problems = "".join(
        f'<tr id="{r.code}"><td>{_show_status(r.status)}</td>{_cells(r)}</tr>\n'
        for r in list_problem_codes()
    )
    fields = "".join(f"<tr>{_cells(row)}</tr>\n" for row in list_field_codes())
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Errors of TaskFlow</title><style>{STYLE}</style></head>
<body>
<h1>Errors</h1>
<p>{escape(INTRODUCTION)}</p>
<table>
<tr><th>Status</th><th>Code</th><th>When</th><th>What to do</th></tr>
{problems}</table>
<h2>Fields, parameters and rows</h2>
<p>{escape(FIELDS)}</p>
<table>
<tr><th>Code</th><th>When</th><th>What to do</th></tr>
{fields}</table>
</body>
</html>
"""


def _show_status(status: str) -> str:
    return f"{status} {HTTPStatus(int(status)).phrase}"


def _cells(row: Row) -> str:
    return (
        f"<td><code>{row.code}</code></td><td>{escape(row.occurs)}</td>"
        f"<td>{escape(row.remedy)}</td>"
    )


PAGE = write_html().encode()


@require_safe
def errors_page(request: HttpRequest) -> HttpResponse:
    """Return the page about error codes, to which the type of each problem points."""
    return HttpResponse(PAGE)


if __name__ == "__main__":
    sys.stdout.write(write_markdown())
