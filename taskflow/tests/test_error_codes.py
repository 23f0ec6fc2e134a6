"""The table of error codes is complete, and the OpenAPI document lists it."""

from __future__ import annotations

import ast
from itertools import chain
from pathlib import Path

import pytest
from django.test import Client

from taskflow.error_codes import ERROR_CODES, FIELD_CODES, REMEDIES
from taskflow.errors_page import write_markdown
from taskflow.http.errors import Problem
from taskflow.http.value_errors import REPORTS
from taskflow.tests.contract import api_document

pytestmark = pytest.mark.one_database

ROOT = Path(__file__).parents[2]
CODES = set(chain.from_iterable(ERROR_CODES.values()))
# Codes of the forms of the admin, which are no problems.
OF_FORMS = {"invalid_pk_value"}
# The place of the code among the arguments, by the name of the function.
CODE_ARGUMENTS = {"field": 2, "parameter": 2, "Obstacle": 1, "_refuse": 1, "obstacle": 0}


def product_files():
    for app in ("taskflow", "accounts", "tasks"):
        yield from (p for p in (ROOT / app).rglob("*.py") if "tests" not in p.parts)


def codes_in(tree):
    """Yield each text that is given as the argument `code` of a call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                    yield keyword.value.value


def problem_classes(base=Problem):
    yield base
    for kind in base.__subclasses__():
        yield from problem_classes(kind)


@pytest.mark.slow
def test_every_code_of_the_product_is_in_the_table():
    used = {code for path in product_files() for code in codes_in(ast.parse(path.read_text()))}
    used |= {kind.code for kind in problem_classes()}

    assert used - OF_FORMS - CODES == set()


def test_every_code_of_the_table_is_used():
    text = "".join(path.read_text() for path in product_files() if path.name != "error_codes.py")

    assert [code for code in CODES if f'"{code}"' not in text] == []


def field_codes_in(tree):
    """Yield each code that the source gives to a field, a parameter or a row."""
    for node in ast.walk(tree):
        candidates = []
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            place = CODE_ARGUMENTS.get(name)
            candidates = [] if place is None else node.args[place : place + 1]
        elif isinstance(node, ast.Dict):
            candidates = [
                value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and key.value == "code"
            ]
        yield from (c.value for c in candidates if isinstance(c, ast.Constant))


@pytest.mark.slow
def test_every_code_of_a_field_is_in_the_table():
    files = [path for path in product_files() if "admin" not in path.parts]
    used = {code for path in files for code in field_codes_in(ast.parse(path.read_text()))}
    used |= {report.code for report in REPORTS.values()}

    assert {code for code in used if isinstance(code, str)} - set(FIELD_CODES) == set()
    assert len(used) > 25


def test_every_code_has_a_remedy():
    assert set(REMEDIES) == CODES


def test_every_code_of_a_field_is_used():
    text = "".join(path.read_text() for path in product_files() if path.name != "error_codes.py")

    computed = {"open_subtask", "open_blocker"}  # see tasks/changes/open_work.py
    assert [code for code in set(FIELD_CODES) - computed if f'"{code}"' not in text] == []


def test_tables_consist_of_sentences():
    sentences = [*REMEDIES.values(), *chain.from_iterable(FIELD_CODES.values())]
    sentences += chain.from_iterable(by_code.values() for by_code in ERROR_CODES.values())

    assert [text for text in sentences if not text.endswith(".") or not text[0].isupper()] == []


def test_document_of_errors_is_up_to_date():
    text = (ROOT / "docs" / "errors.md").read_text()

    assert text == write_markdown(), "Run: python -m taskflow.errors_page > docs/errors.md"


def test_type_of_a_problem_is_an_anchor_of_a_page_of_this_installation(fixtures, as_):
    problem = as_(fixtures.ada).get("/nothing").json()

    path, _, code = problem["type"].partition("#")
    page = Client().get(path)
    assert (code, page.status_code) == ("not_found", 200)
    assert page.headers["Content-Type"].startswith("text/html")
    assert all(f'id="{code}"' in page.content.decode() for code in CODES)
    assert "<script" not in page.content.decode()


@pytest.mark.parametrize("method", ["post", "delete"])
def test_page_of_errors_can_only_be_read(db, method):
    assert getattr(Client(), method)("/api/v1/docs/errors").status_code == 405


def test_class_of_a_problem_has_a_code_of_its_status():
    for kind in problem_classes():
        assert kind.code in ERROR_CODES[kind.status], kind


def test_document_lists_every_code():
    assert set(api_document()["components"]["schemas"]["ErrorCode"]["enum"]) == CODES
