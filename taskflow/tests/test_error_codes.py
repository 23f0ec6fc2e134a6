"""The table of error codes is complete, and the OpenAPI document lists it."""

from __future__ import annotations

import ast
from itertools import chain
from pathlib import Path

from taskflow.error_codes import ERROR_CODES
from taskflow.http.errors import Problem
from taskflow.tests.contract import api_document

ROOT = Path(__file__).parents[2]
CODES = set(chain.from_iterable(ERROR_CODES.values()))
# Codes of the forms of the admin, which are no problems.
OF_FORMS = {"invalid_pk_value"}


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


def test_every_code_of_the_product_is_in_the_table():
    used = {code for path in product_files() for code in codes_in(ast.parse(path.read_text()))}
    used |= {kind.code for kind in problem_classes()}

    assert used - OF_FORMS - CODES == set()


def test_every_code_of_the_table_is_used():
    text = "".join(path.read_text() for path in product_files() if path.name != "error_codes.py")

    assert [code for code in CODES if f'"{code}"' not in text] == []


def test_class_of_a_problem_has_a_code_of_its_status():
    for kind in problem_classes():
        assert kind.code in ERROR_CODES[kind.status], kind


def test_document_lists_every_code():
    assert set(api_document()["components"]["schemas"]["ErrorCode"]["enum"]) == CODES
