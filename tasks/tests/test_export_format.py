"""What an export file may look like: older ones are read, newer and broken ones are refused."""

from __future__ import annotations

import copy
import io
import os
import random
import re
from contextlib import suppress
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from accounts.models import Tenant
from conftest import PROOF
from taskflow.db.computed import ComputedField
from taskflow.http.errors import Problem
from taskflow.tenancy import inside
from tasks.export.format import VERSION, models_by_label
from tasks.export.verifying import NOT_AN_EXPORT, InvalidExport, read_row, verify
from tasks.models import Task
from tasks.tests.exports import build_unusual_tenant, documents_of, export, load, signed, wipe

# Made from build_unusual_tenant() by an older TaskFlow. Written anew only when the format has changed:
#     WRITE_GOLDEN=1 pytest tasks/tests/test_export_format.py -k golden
GOLDEN = Path(__file__).parent / "golden.jsonl"
# Columns that every row must have, because no default says what an older file means.
REQUIRED = {
    "accounts.tenant": {"id", "name", "subdomain", "created_at", "updated_at"},
    "accounts.user": {"id", "password", "handle", "created_at", "updated_at"},
    "accounts.apitoken": {"id", "user_id", "name", "prefix", "digest", "created_at", "updated_at"},
    "audit.event": {"id", "via", "verb", "subject_type", "subject_id", "version", "created_at"},
    "tasks.invitation": {"id", "email", "expires_at", "created_at", "updated_at"},
    "tasks.project": {"id", "key", "name", "owner_id", "created_at", "updated_at"},
    "tasks.projectkey": {"id", "key"},
    "tasks.projectmember": {"id", "project_id", "user_id", "created_at", "updated_at"},
    "tasks.tag": {"id", "name", "created_at", "updated_at"},
    "tasks.task": {"id", "project_id", "number", "title", "created_at", "updated_at"},
    "tasks.tasktag": {"id", "task_id", "tag_id"},
    "tasks.taskblocker": {"id", "task_id", "blocker_id"},
    "tasks.formernumber": {"id", "project_id", "number", "task_id"},
    "tasks.comment": {"id", "task_id", "body", "created_at", "updated_at"},
    "tasks.view": {"id", "owner_id", "name", "where", "created_at", "updated_at"},
    "tasks.notification": {"id", "user_id", "kind", "created_at"},
    "tasks.notificationposition": {"id", "cursor", "overdue_until"},
    "tasks.notificationpreference": {"id", "user_id"},
    "tasks.page": {"id", "project_id", "title", "owner_id", "created_at", "updated_at"},
}


@pytest.fixture(scope="module")
def golden():
    return GOLDEN.read_bytes()


def rows_of(documents):
    """Yield the columns of the tenant and of each row, with their model."""
    yield "accounts.tenant", documents[0]["tenant"]
    for document in documents[1:-1]:
        yield document["model"], document["row"]


def required_in(documents):
    """REQUIRED, without the models that the file has no row of because it is older."""
    labels = {label for label, _row in rows_of(documents)}
    return {label: columns for label, columns in REQUIRED.items() if label in labels}


def refusal(data):
    with pytest.raises(InvalidExport) as raised:
        verify(io.BytesIO(data))
    sentence = str(raised.value)
    assert sentence.endswith("."), sentence
    assert "\n" not in sentence
    return sentence


# ---- the golden file ----------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_golden_file_is_imported_and_exported_with_the_same_values(golden):
    """On either database, whichever wrote it."""
    if "WRITE_GOLDEN" in os.environ:
        golden = export(build_unusual_tenant().acme)
        GOLDEN.write_bytes(golden)
    wipe()

    tenant, keeps_tokens = load(golden)

    assert keeps_tokens
    exported = export(tenant)
    assert exported == golden or is_older(golden)
    assert values_of(exported, columns_of(golden)) == values_of(golden, columns_of(golden))


def is_older(golden):
    """Whether columns or models may have been added since the file was made."""
    return documents_of(golden)[0]["version"] < VERSION


def columns_of(data):
    return {label: row.keys() for label, row in rows_of(documents_of(data))}


def values_of(data, columns):
    """The values of these columns, by model."""
    return [
        (label, {name: row[name] for name in columns[label]})
        for label, row in rows_of(documents_of(data))
        if label in columns
    ]


def test_golden_file_has_rows_of_every_model(golden):
    counts = documents_of(golden)[-1]["counts"]

    assert all(counts.values())
    assert counts.keys() == models_by_label().keys() or is_older(golden)


def test_version_is_raised_when_columns_change(golden):
    """Otherwise an older TaskFlow would report that a newer file is damaged."""
    assert is_older(golden) or columns_of(golden) == export_columns()


def export_columns():
    fields = {label: REQUIRED_AND_OPTIONAL[label] for label in models_by_label()}
    # The epoch follows from those of the events.
    of_tenant = {f.attname for f in Tenant._meta.concrete_fields} - {"event_epoch"}
    return fields | {"accounts.tenant": of_tenant}


# The tenant is the file's; the others describe this installation, not the data.
NOT_WRITTEN = (
    "tenant",
    "is_sign_in",
    "sessions_ended_at",
    "claim_id",
    "assigned_by_claim_id",
)
REQUIRED_AND_OPTIONAL = {
    label: {
        f.attname
        for f in model._meta.concrete_fields
        if f.name not in NOT_WRITTEN and not f.generated and not isinstance(f, ComputedField)
    }
    for label, model in models_by_label().items()
}


# ---- older files --------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_column_with_a_default_may_be_missing(golden):
    documents = documents_of(golden)
    for label, columns in export_columns().items():
        for column in columns - REQUIRED[label]:
            older = copy.deepcopy(documents)
            for other, row in rows_of(older):
                if other == label:
                    row.pop(column, None)  # the file may be older than the column

            assert verify(io.BytesIO(signed(older))).total, (label, column)


@pytest.mark.slow
def test_missing_column_without_default_is_refused_by_name(golden):
    documents = documents_of(golden)
    for label, columns in required_in(documents).items():
        for column in columns:
            older = copy.deepcopy(documents)
            for other, row in rows_of(older):
                if other == label:
                    del row[column]

            assert re.search(rf"{label} needs the column {column}\.$", refusal(signed(older)))


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_file_without_any_column_that_has_a_default_is_imported(golden):
    documents = documents_of(golden)
    for label, row in rows_of(documents):
        # A person without an e-mail is refused by the database.
        for column in row.keys() - REQUIRED[label] - {"kind", "email"}:
            del row[column]
    wipe()

    tenant, _ = load(signed(documents))

    with inside(tenant):
        task = Task.objects.get(title="odd")
        assert (task.description, task.metadata, task.status, task.version) == ("", {}, "todo", 1)
        assert (task.assignee, task.due_on, task.deleted_at, tenant.time_zone) == (
            None, None, None, "UTC",
        )  # fmt: skip


def test_model_that_an_older_file_does_not_have_is_empty(golden):
    documents = [d for d in documents_of(golden) if d.get("model") != "tasks.page"]
    del documents[-1]["counts"]["tasks.page"]

    contents = verify(io.BytesIO(signed(documents)))

    assert contents.counts["tasks.page"] == 0


# ---- newer files --------------------------------------------------------------------------------


def test_newer_version_is_refused_by_name(golden):
    documents = documents_of(golden)
    documents[0]["version"] = VERSION + 2

    assert refusal(signed(documents)) == (
        f"This file has format {VERSION + 2}; this TaskFlow reads up to {VERSION}."
        " Upgrade TaskFlow."
    )


@pytest.mark.parametrize("version", [0, -1, "1", 1.5, True, None, [1], {}])
def test_invalid_version_is_refused(golden, version):
    documents = documents_of(golden)
    documents[0]["version"] = version

    assert refusal(signed(documents)) == NOT_AN_EXPORT


def test_unknown_columns_are_refused_by_name(golden):
    documents = documents_of(golden)
    for label in required_in(documents):
        newer = copy.deepcopy(documents)
        for other, row in rows_of(newer):
            if other == label:
                row |= {"colour": None, "zeal": 1}

        sentence = refusal(signed(newer))

        assert f"{label} has no column colour, zeal in this TaskFlow" in sentence
        assert "newer TaskFlow wrote the file. Upgrade TaskFlow." in sentence


def test_unknown_models_are_refused_by_name(golden):
    documents = documents_of(golden)
    documents.insert(-1, {"model": "tasks.claim", "row": {"id": 1}})

    sentence = refusal(signed(documents))

    assert "this TaskFlow has no tasks.claim: a newer TaskFlow wrote the file" in sentence


# ---- broken files -------------------------------------------------------------------------------


def test_file_that_is_cut_anywhere_is_refused(golden):
    for length in [*range(0, len(golden), 997), len(golden) - 1]:
        refusal(golden[:length])


def test_file_with_one_changed_byte_is_refused(golden):
    for n, place in enumerate(range(0, len(golden) - 100, 997)):
        byte = (golden[place] ^ 1, 0, 0xFF, 0x0A, 0x22)[n % 5]
        if byte != golden[place]:
            refusal(golden[:place] + bytes([byte]) + golden[place + 1 :])


@pytest.mark.parametrize(
    "text",
    ["NaN", "Infinity", "1e999", '"\\u0000"', '"\\ud800"', '{"a": 1, "a": 1}', "9" * 5000, "[" * 20,
     "[" * 100_000, "1e308", "[1]", "null", '{"a": "' + "x" * 40_000 + '"}'],
)  # fmt: skip
def test_metadata_that_a_body_may_not_contain_is_refused(golden, text):
    documents = documents_of(golden)
    for document in documents:
        if document.get("model") == "tasks.task":
            document["row"]["metadata"] = "METADATA"

    assert refusal(signed(documents).replace(b'"METADATA"', text.encode()))


JUNK = [None, True, 0, -1, 1, 2**62, 2**63, 2**64, 1.5, "", "x", "-1", "\0", "x" * 70_000, [], [1],
        [[1, 2]], {}, {"x": 1}, {"x": [1]}, {"1": []}, "2026-01-01", "2026-13-01T00:00:00+00:00",
        "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00"]  # fmt: skip


def test_row_with_any_edited_value_is_read_or_refused(golden):
    """A file with a valid checksum may contain any values."""
    rows = {d["model"]: d for d in documents_of(golden)[1:-1]}
    for document in rows.values():
        for column in document["row"]:
            for junk in JUNK:
                edited = document | {"row": document["row"] | {column: junk}}
                with suppress(Problem, ValueError, ValidationError):
                    read_row(edited)


@pytest.mark.proof
@pytest.mark.django_db
def test_file_with_any_edited_value_is_imported_or_refused(golden):
    """There is no traceback, and either all rows are stored or none."""
    chance = random.Random(7)
    build_unusual_tenant()
    for _ in range(1500 if PROOF else 12):
        documents = documents_of(golden)
        row = chance.choice([row for _, row in rows_of(documents)])
        row[chance.choice(sorted(row))] = chance.choice(JUNK)
        with suppress(InvalidExport, IntegrityError), transaction.atomic():
            load(signed(documents), subdomain="edited")
            connection.check_constraints()
            transaction.set_rollback(True)
        assert set(Tenant.objects.values_list("subdomain", flat=True)) == {
            "acme", "globex", "platform",
        }  # fmt: skip


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_command_refuses_a_bad_file_in_one_sentence(golden, tmp_path):
    path = tmp_path / "bad.jsonl"
    documents = documents_of(golden)
    refused = {
        "This is not a TaskFlow export.": b"{}\n",
        "cut off": golden[: golden.rindex(b"\n", 0, -1) + 1],
        "cannot be stored": signed(documents).replace(b'"status": "todo"', b'"status": "open"'),
    }
    refused["cannot be stored"] = signed(documents_of(refused["cannot be stored"]))
    for sentence, data in refused.items():
        path.write_bytes(data)
        wipe()

        with pytest.raises(CommandError, match=sentence):
            call_command("import", str(path))
        assert not Tenant.objects.exists()
    with pytest.raises(CommandError, match="Is a directory"):
        call_command("import", str(tmp_path))
