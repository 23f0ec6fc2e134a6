"""The sequences from which the ids of a table are taken."""

from __future__ import annotations

import pytest

from tasks.export.sequences import advance_sequence, read_sequence, set_sequences
from tasks.models import Tag

TABLE = Tag._meta.db_table


@pytest.fixture
def restored_sequence(db):
    last_id = max(read_sequence(TABLE), 1)
    yield
    set_sequences({TABLE: last_id})


@pytest.mark.usefixtures("restored_sequence")
@pytest.mark.parametrize("count", [1, 2, 10**12])
def test_reserving_any_number_of_ids_continues_after_them(count):
    """The ids of a file can be far apart: the tenant had some of those of a large database."""
    first = advance_sequence(TABLE, count)

    assert read_sequence(TABLE) == first + count - 1
    assert advance_sequence(TABLE, 1) == first + count
