"""The table of docs/accepted-values.md: its requests are answered as it says, and its tests exist.

The first code in the second cell of a row is a request if it begins with a method:
`POST /tags {"name": "x"}`. Further codes are headers. `\\n` in a CSV file is the end of a line.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import transaction

from conftest import ApiClient
from tasks.seeding.companies import DEMO_TENANT
from tasks.seeding.demo import seed_demo

pytestmark = pytest.mark.one_database

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "accepted-values.md"
CODE = re.compile(r"`([^`]+)`")
REQUEST = re.compile(r"(GET|HEAD|OPTIONS|POST|PUT|PATCH|DELETE) (\S+)(?: (.*))?")
HEADER = re.compile(r"([A-Z][A-Za-z-]+): (.*)")
ANSWER = re.compile(r"(\d{3})(?: `(\w+)`)?")
MIN_ROWS = 120


@dataclass
class Row:
    kind: str
    example: str
    answer: str
    tests: list[str]


@dataclass
class Example:
    method: str
    path: str
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def read_rows():
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if line.startswith("| ") and cells[0] != "kind":
            kind, example, answer, tests = cells
            yield Row(kind.strip("| "), example, answer, CODE.findall(tests))


def read_example(row):
    """The request of a row, or None if its example is none."""
    request, *headers = CODE.findall(row.example) or [""]
    match = REQUEST.fullmatch(request)
    if match is None:
        return None
    example = Example(match[1], match[2], match[3] or "")
    example.headers = dict(HEADER.fullmatch(header).groups() for header in headers)
    if example.headers.get("Content-Type", "").startswith("text/csv"):
        example.body = example.body.replace("\\n", "\n")
    return example


ROWS = list(read_rows())
EXAMPLES = [(row, example) for row in ROWS if (example := read_example(row))]


@pytest.fixture(scope="module")
def demo(django_db_setup, django_db_blocker):
    """The demo token. What the module stores is rolled back at its end."""
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.DEBUG", True)
        patch.setattr("django.conf.settings.DEFAULT_TENANT", DEMO_TENANT)
        with transaction.atomic():
            yield seed_demo().token
            transaction.set_rollback(True)


def send(token, example):
    headers = dict(example.headers)
    if headers.pop("Authorization", None):
        token = ""
    kind = headers.pop("Content-Type", "application/json")
    path = quote(example.path, safe='/?&=%@:;,{}"+')
    return ApiClient(token).generic(
        example.method, path, example.body, content_type=kind, headers=headers
    )


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("row", "example"), EXAMPLES, ids=[f"{e.method} {e.path} {r.kind}" for r, e in EXAMPLES]
)
def test_example_of_the_table_is_answered_as_it_says(demo, db, row, example):
    with transaction.atomic():
        r = send(demo, example)
        transaction.set_rollback(True)

    status, code = ANSWER.match(row.answer).groups()
    assert r.status_code == int(status), r.content
    if code and not row.answer.startswith("2"):
        assert r.json()["code"] == code


@pytest.mark.slow
def test_every_test_of_the_table_exists():
    names = {}
    for path in {test.partition("::")[0] for row in ROWS for test in row.tests}:
        tree = ast.parse((ROOT / path).read_text())
        names[path] = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}

    missing = [
        test
        for row in ROWS
        for test in row.tests
        if test.partition("::")[2] not in names[test.partition("::")[0]]
    ]
    assert missing == []
    assert [row.kind for row in ROWS if not row.tests] == []


def test_most_rows_of_the_table_have_a_request():
    assert len(ROWS) >= MIN_ROWS
    assert len(EXAMPLES) > 2 * len(ROWS) / 3
