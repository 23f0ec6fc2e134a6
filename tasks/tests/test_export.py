"""Exporting a tenant to a file and importing it."""

from __future__ import annotations

import hashlib
import io
import json
import re

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from accounts.actions.sessions import start_session
from accounts.actions.tokens import create_token
from accounts.models import ApiToken, Session, Tenant, User
from conftest import ApiClient, build_fixtures
from taskflow.audit.actor import TokenScope
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.export.exporting import export_tenant
from tasks.export.format import exported_models
from tasks.export.importing import import_tenant
from tasks.export.verifying import InvalidExport, verify
from tasks.models import FormerNumber, Project, Task, TaskCountDelta
from tasks.queries.search import build_condition, matches, read_query
from tasks.tests.exports import build_unusual_tenant, export, load, wipe
from tasks.tests.invariants import wrong_columns

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stored_fixtures():
    return build_unusual_tenant()


@pytest.mark.slow
def test_export_of_an_imported_export_has_the_same_bytes(stored_fixtures):
    before = export(stored_fixtures.acme)
    wipe()

    tenant, keeps_tokens = load(before)

    with inside(tenant):
        assert list(wrong_columns()) == []
    assert (tenant.pk, keeps_tokens) == (stored_fixtures.acme.pk, True)
    assert export(tenant) == before
    counts = json.loads(before.splitlines()[-1])["counts"]
    assert all(counts.values()), "something of everything"
    assert len(counts) == len(exported_models())


@pytest.mark.slow
def test_two_exports_of_the_same_data_have_the_same_bytes(stored_fixtures):
    assert export(stored_fixtures.acme) == export(stored_fixtures.acme)
    assert export(stored_fixtures.acme) != export(stored_fixtures.globex)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite always reads one snapshot")
@pytest.mark.slow
def test_export_reads_one_snapshot_without_settings_of_the_session(stored_fixtures):
    """Behind a pooler, settings of the session would reach the transactions of other clients."""
    settings = []

    def read_settings(count: int) -> None:
        names = ("transaction_isolation", "statement_timeout", "default_transaction_isolation")
        with connection.cursor() as cursor:
            cursor.execute("SELECT " + ", ".join(f"current_setting('{n}')" for n in names))
            settings.append(cursor.fetchone())

    export_tenant(stored_fixtures.acme, io.BytesIO(), read_settings)

    assert set(settings) == {("repeatable read", "0", "read committed")}


@pytest.mark.slow
def test_imported_tenant_continues_its_numbers(stored_fixtures):
    data = export(stored_fixtures.acme)
    with inside(stored_fixtures.acme):
        _token, text = create_token(stored_fixtures.ada, name="kept", scope=TokenScope.WRITE)
    data = export(stored_fixtures.acme)
    wipe()
    load(data)
    client = ApiClient(text)

    r = client.post("/tasks", {"project_id": stored_fixtures.apollo.pk, "title": "new"})

    assert (r.status_code, r.json()["number"]) == (201, 6)
    assert client.get("/search?q=quotes").json()["data"][0]["title"] == "odd"
    with inside(Tenant.objects.get()):
        assert Task.objects.filter(matches(Task, build_condition(read_query("odd")))).count() == 1
        assert Event.objects.order_by("-id")[0].subject_id == r.json()["id"]


@pytest.mark.slow
def test_import_beside_other_tenants_shifts_all_ids(stored_fixtures):
    data = export(stored_fixtures.acme)

    tenant, keeps_tokens = load(data, subdomain="acme-2")

    assert keeps_tokens is False
    with inside(tenant):
        assert not ApiToken.objects.exists()
        task = Task.objects.get(title="odd")
        assert [t.title for t in task.blocked_by.all()] == ["later"]
        assert Task.objects.get(title="Launch").parent == task
        assert task.created_by.handle == "ada"
        assert User.objects.get(handle="bot").responsible.handle == "ada"
        event = Event.objects.get(subject_type="task", subject_id=task.pk, verb="created")
        assert event.changes["blocked_by"] == [[], [task.blocked_by.get().pk]]
        assert event.changes["project"] == [None, task.project_id]
        assert event.project_id == task.project_id
        assert FormerNumber.objects.get().task.title == "later"
        undo_event = Event.objects.exclude(undoes=None).get()
        (taken_back,) = Event.objects.filter(pk__in=[int(pk) for pk in undo_event.undoes])
        assert taken_back.changes == {"priority": ["medium", "high"]}
        assert TaskCountDelta.find_wrong_counts(Project.everything.all()) == []
    assert export(stored_fixtures.acme) == data
    again, _ = load(data, subdomain="acme-3")
    with inside(again):
        assert Task.objects.count() == 5


@pytest.mark.slow
def test_secrets_can_be_left_out(stored_fixtures):
    data = export(stored_fixtures.acme, with_secrets=False)

    rows = [json.loads(line) for line in data.splitlines()]
    assert {r["row"]["password"] for r in rows if r.get("model") == "accounts.user"} == {"!"}
    tokens = [r["row"] for r in rows if r.get("model") == "accounts.apitoken"]
    assert not any("digest" in row for row in tokens)
    wipe()
    tenant, _ = load(data)
    assert export(tenant, with_secrets=False) == data


@pytest.mark.slow
def test_taken_subdomain_is_refused(stored_fixtures):
    with pytest.raises(InvalidExport, match="already a tenant acme"):
        load(export(stored_fixtures.acme))


@pytest.mark.slow
def test_incomplete_or_edited_file_is_refused_and_nothing_is_stored(stored_fixtures):
    data = export(stored_fixtures.acme)
    wipe()
    lines = data.splitlines(keepends=True)
    reordered = [*lines]
    reordered[2], reordered[3] = lines[3], lines[2]
    bad = {
        "empty": b"",
        "cut in the middle": data[: len(data) // 2],
        "cut after a line": b"".join(lines[:-1]),
        "cut by one byte": data[:-1],
        "a line is missing": b"".join(lines[:5] + lines[6:]),
        "a line is there twice": b"".join([*lines[:5], lines[4], *lines[5:]]),
        "reordered": b"".join(reordered),
        "edited": data.replace(b"Launch", b"Lunchh", 1),
        "more behind it": data + lines[3],
        "another format": data.replace(b"taskflow-export", b"something-else"),
        "another version": data.replace(b'"version":1}', b'"version":9}', 1),
        "no json": b"hello\n",
        "json of another kind": b"[1]\n",
        "an unknown model": data.replace(b'"tasks.tag"', b'"tasks.tog"'),
        "a missing column": data.replace(b'"color":null,', b""),
        "a row without an id": re.sub(
            rb'(accounts.user","row":.*?"id":)(\d+)', rb'\1"\2"', data, count=1
        ),
        "a bad tenant": data.replace(b'"subdomain":"acme",', b""),
    }
    for name, broken in bad.items():
        assert broken != data, name
        with pytest.raises(InvalidExport):
            load(broken)
            pytest.fail(name)
        assert not Tenant.objects.exists(), name


@pytest.mark.slow
def test_row_that_cannot_be_stored_prevents_the_import(stored_fixtures, monkeypatch):
    """A file with a valid checksum may contain any values; the database refuses this one."""
    data = export(stored_fixtures.acme).replace(b'"status":"todo"', b'"status":"open"', 1)
    wipe()
    file = io.BytesIO(data)
    monkeypatch.setattr(hashlib, "sha256", lambda *_: Forged(data))

    with pytest.raises(InvalidExport, match="cannot be stored"):
        import_tenant(file, verify(file), lambda _: None)
    assert not Tenant.objects.exists()


class Forged:
    def __init__(self, data):
        self.sha256 = json.loads(data.splitlines()[-1])["sha256"]

    def update(self, data):
        pass

    def hexdigest(self):
        return self.sha256


@pytest.mark.slow
def test_export_and_import_commands_report_what_they_did(stored_fixtures, tmp_path, capsys):
    path = tmp_path / "acme.jsonl"
    call_command("export", "acme", output=str(path))
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(CommandError, match="Name a new file"):
        call_command("export", "acme", output=str(path))
    with pytest.raises(CommandError, match="no tenant"):
        call_command("export", "nobody")
    with pytest.raises(CommandError, match="already"):
        call_command("import", str(path))
    call_command("import", str(path), subdomain="copy")

    output = capsys.readouterr()
    assert "as copy" in output.out
    assert "Create new tokens" in output.out
    with pytest.raises(CommandError, match="No such file"):
        call_command("import", str(tmp_path / "nothing"))


@pytest.mark.slow
def test_sessions_stay_in_their_installation():
    """Those of programs refer to tokens, which are left out under another id."""
    fixtures = build_fixtures()
    with inside(fixtures.acme):
        token, _ = create_token(fixtures.ada, name="sign-in", scope=TokenScope.WRITE)
        start_session(fixtures.ada, user_agent="curl", token=token)

    tenant, keeps_tokens = load(export(fixtures.acme), subdomain="copy")

    assert not keeps_tokens
    with inside(tenant):
        assert (Session.objects.count(), ApiToken.objects.count()) == (0, 0)
        assert User.objects.filter(handle="ada").exists()
