"""Any row that a database holds can be exported, and the export imported."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import stat

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from taskflow.tenancy import inside
from tasks.export import exporting
from tasks.export.verifying import verify
from tasks.management.files import write_whole_file
from tasks.models import Task
from tasks.tests.exports import documents_of, export, load, nested

TEXTS = st.text(st.characters(exclude_categories=()), max_size=6)
NUMBERS = st.integers() | st.integers(-(10**400), 10**400) | st.floats()
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


def store(task, **values):
    """Store the values without any check. Return False if the database refuses them."""
    try:
        with transaction.atomic():
            type(task).everything.filter(pk=task.pk).update(**values)
    except (DatabaseError, UnicodeEncodeError, ValueError):
        return False
    return True


def exported_task(data):
    (row,) = [d["row"] for d in documents_of(data) if d.get("model") == "tasks.task"]
    return row


@pytest.fixture
def task(fixtures):
    return fixtures.task


@pytest.mark.slow
@settings(
    max_examples=12,
    deadline=None,
    phases=[Phase.generate],
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(metadata=st.dictionaries(TEXTS, VALUES, max_size=3), description=TEXTS)
def test_any_stored_values_are_exported_and_can_be_imported(fixtures, metadata, description):
    with inside(fixtures.acme):
        store(fixtures.task, metadata=metadata)
        store(fixtures.task, description=description)

    data = export(fixtures.acme)
    with transaction.atomic():
        tenant, _ = load(data, subdomain="copy")
        with inside(tenant):
            task = Task.objects.get()
        again = exported_task(export(tenant))
        transaction.set_rollback(True)

    assert task.description == exported_task(data)["description"]
    assert again["metadata"] == exported_task(data)["metadata"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.0, 1),
        (-0.0, 0),
        (1.5e17, 150000000000000000),
        (1234567890123456789.0, 1234567890123456800),  # PostgreSQL keeps the digits it was sent
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        (-(2**63), -(2**63)),
        (1e308, str(10**308)),
        (5e-324, 5e-324),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        ("\ud800", "\ufffd"),
        ("a\0b", "a\ufffdb"),
        ("\u2028\x1f\x7f\ufeff\uffff", "\u2028\x1f\x7f\ufeff\uffff"),
        (
            dict(zip(map(chr, [0xD800, 0xDFFF]), [1, 2], strict=True)),
            {"\ufffd": 1, "\ufffd\ufffd": 2},
        ),
        (nested(14), nested(14)),
        ({"a": {"sha256": 1, "counts": {}, "format": "x", "model": "y", "row": 1}},) * 2,
    ],
)
def test_odd_value_is_written_alike_by_both_databases(fixtures, value, written):
    with inside(fixtures.acme):
        if not store(fixtures.task, metadata={"k": value}):
            assert connection.vendor == "postgresql" or not math.isfinite(value)
            return

    data = export(fixtures.acme)

    assert exported_task(data)["metadata"] == {"k": written}
    assert verify(io.BytesIO(data)).total


def test_value_that_is_nested_too_deeply_is_written_as_text(fixtures):
    with inside(fixtures.acme):
        assert store(fixtures.task, metadata=nested(300))

    data = export(fixtures.acme)

    innermost = exported_task(data)["metadata"]
    for _ in range(15):
        innermost = innermost["a"]
    assert json.loads(innermost) == nested(285)
    assert verify(io.BytesIO(data)).total


def test_each_changed_value_is_reported(fixtures):
    with inside(fixtures.acme):
        store(fixtures.task, metadata={"a": [2**70, 2**71], "b": nested(20)})
    notes = []

    export(fixtures.acme, note=notes.append)

    row = f"tasks.task {fixtures.task.pk}: metadata"
    assert notes == [
        f"{row} contains a number outside 64 bits: it became text.",
        f"{row} is nested too deeply: the innermost values became text.",
    ]


# ---- the file on the disk -----------------------------------------------------------------------


def test_file_has_its_name_only_when_it_is_whole(tmp_path):
    path = tmp_path / "acme.jsonl"

    with write_whole_file(path) as file:
        file.write(b"half")
        assert not path.exists()
        (temporary,) = tmp_path.iterdir()
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600

    assert path.read_bytes() == b"half"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_failure_while_writing_leaves_no_file(tmp_path, error):
    with pytest.raises(error), write_whole_file(tmp_path / "acme.jsonl") as file:
        file.write(b"half")
        raise error

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_while_writing_leaves_no_file(tmp_path, number):
    before = signal.getsignal(number)
    with pytest.raises(SystemExit), write_whole_file(tmp_path / "acme.jsonl") as file:
        file.write(b"half")
        os.kill(os.getpid(), number)
        signal.pause()

    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_full_disk_leaves_no_file_and_is_one_sentence(fixtures, tmp_path, monkeypatch, name):
    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, name, fail)

    with pytest.raises(CommandError, match=r"No space left on device\. Nothing was written\.$"):
        call_command("export", "acme", output=str(tmp_path / "acme.jsonl"))
    assert list(tmp_path.iterdir()) == []


def test_failure_in_the_middle_of_an_export_leaves_no_file(fixtures, tmp_path, monkeypatch):
    def fail(*args, **how):
        raise DatabaseError("connection lost")

    monkeypatch.setattr(exporting, "write_value", fail)

    with pytest.raises(CommandError, match="The database refused the export: connection lost"):
        call_command("export", "acme", output=str(tmp_path / "acme.jsonl"))
    assert list(tmp_path.iterdir()) == []


def test_existing_file_is_kept(fixtures, tmp_path):
    path = tmp_path / "acme.jsonl"
    path.write_bytes(b"precious")
    (tmp_path / "link").symlink_to("nowhere")

    for name in ("acme.jsonl", "link", "no/such/folder"):
        with pytest.raises(CommandError, match=r"Name a new file|No such file"):
            call_command("export", "acme", output=str(tmp_path / name))

    assert path.read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 2
