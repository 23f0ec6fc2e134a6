"""docs/security.md names only tests that exist."""

from __future__ import annotations

import re

import pytest

from taskflow.tests.server import ROOT

pytestmark = pytest.mark.one_database

TEXT = (ROOT / "docs" / "security.md").read_text()
NAMED = re.findall(r"`([a-z_/]+/test_\w+\.py)(?:::(\w+))?`", TEXT)
ROWS = [line for line in TEXT.splitlines() if re.match(r"\| (API|V)\d", line)]


def test_every_row_names_a_test():
    assert len(ROWS) > 20
    assert [row for row in ROWS if not re.search(r"`[\w/]+/test_\w+\.py", row)] == []


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_named_test_exists(path, name):
    source = (ROOT / path).read_text()
    definition = rf"^def {name}\(" if name else "^def test_"

    assert re.search(definition, source, re.MULTILINE)
