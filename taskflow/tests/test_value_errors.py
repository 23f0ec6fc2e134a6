"""Every error type of pydantic has our code and our sentence, and none of pydantic's gets out."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic_core import core_schema

from taskflow.http.value_errors import REPORTS, TYPES, Report

pytestmark = pytest.mark.one_database

CONTEXT = {
    "name": "“x”", "value": "“y”", "kind": "a list", "length": 3, "unit": "values", "choices": "must be a",
    "hint": "", "expected_type": "a text", "error": "“x” must be z.", "min_length": 1, "max_length": 2,
    "gt": 1, "ge": 1, "lt": 1, "le": 1, "multiple_of": 2, "pattern": "a", "expected_schemas": "http",
    "expected_schemes": "http",
}  # fmt: skip


def test_every_error_type_of_pydantic_is_mapped():
    assert set(REPORTS) == set(get_args(core_schema.ErrorType))


@pytest.mark.parametrize("kind", REPORTS)
def test_report_is_a_sentence_with_a_code(kind):
    report = REPORTS[kind]
    sentence = report.sentence.format_map(CONTEXT)

    assert sentence.endswith(".")
    assert "“x”" in sentence
    assert "Input" not in sentence
    assert report.code.replace("_", "").isalpha()


def test_every_type_of_a_value_is_reported_as_a_wrong_type():
    assert {REPORTS[kind].code for kind in TYPES} == {"wrong_type"}
    assert Report("a", "b").code == "a"
