"""Backups of all tenants: written while others write, and restored into an empty database."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import threading
from functools import partial

import pyotp
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections

from accounts.actions.mail_tokens import issue_mail_token
from accounts.actions.second_factors import begin_enrolment, confirm_enrolment
from accounts.actions.sessions import start_session
from accounts.models import MailPurpose, Tenant, User
from accounts.tests.factories import ApiTokenFactory
from conftest import PROOF, ApiClient
from taskflow.audit.actor import TokenScope
from taskflow.audit.models import Event
from taskflow.db.description import describe_database
from taskflow.tenancy import inside
from taskflow.tests.concurrency import TIMEOUT
from taskflow.tests.server import ROOT, clean_environment
from tasks.actions.trash import purge
from tasks.changes.tasks import create_task, delete_task
from tasks.export.backup import restore_backup, write_backup
from tasks.export.backup_file import verify_backup
from tasks.export.exporting import export_tenant
from tasks.export.format import BACKUP, VERSION, exported_models
from tasks.export.verifying import InvalidExport
from tasks.management.commands.verify import find_faults
from tasks.models import ProjectKey, Task
from tasks.tests.exports import build_unusual_tenant, wipe

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def stored_fixtures():
    fixtures = build_unusual_tenant()
    with inside(fixtures.acme):
        enrolment = begin_enrolment(fixtures.bob)
        confirm_enrolment(fixtures.bob, pyotp.TOTP(enrolment.secret).now())
        start_session(fixtures.bob, user_agent="Firefox")
        issue_mail_token(fixtures.acme, MailPurpose.PASSWORD_RESET, user=fixtures.eve.user)
    return fixtures


def back_up():
    file = io.BytesIO()
    write_backup(file, lambda _: None)
    return file.getvalue()


def restore(data):
    file = io.BytesIO(data)
    restore_backup(file, verify_backup(file), lambda _: None)


def faults_of_all_tenants():
    faults = []
    for tenant in Tenant.objects.all():
        with inside(tenant):
            faults += find_faults()
    return faults


def describe_state(client):
    paths = (
        "/me",
        "/projects?include=count",
        "/projects/APO/events",
        "/tasks?limit=200",
        "/tokens",
        "/users",
    )
    responses = [client.get(path) for path in paths]
    return [(r.status_code, r.headers.get("ETag"), r.content) for r in responses]


@pytest.mark.slow
def test_restored_database_answers_as_before_and_has_the_same_backup(stored_fixtures):
    client = ApiClient(ApiTokenFactory(actor=stored_fixtures.boss, scope=TokenScope.ADMIN)[1])
    body = {"project": "APO", "title": "written once"}
    created = client.post("/tasks", body, headers={"Idempotency-Key": "k-1"})
    assert client.post("/claims", {"task": created.json()["key"]}).status_code == 201
    webhook = client.post("/webhooks", {"url": "https://hooks.example/"}).json()
    assert client.post(f"/webhooks/{webhook['id']}/ping").status_code < 300
    before, state = back_up(), describe_state(client)
    wipe()

    restore(before)

    assert back_up() == before
    assert describe_state(client) == state
    retried = client.post("/tasks", body, headers={"Idempotency-Key": "k-1"})
    assert (retried.json(), retried.headers["Idempotency-Replayed"]) == (created.json(), "true")
    assert faults_of_all_tenants() == []
    counts = json.loads(before.splitlines()[-1])["counts"]
    assert all(counts.values()), "something of everything"
    assert len(counts) == len(exported_models(BACKUP)) + 1


def test_restored_database_keeps_passwords_sessions_and_operators(stored_fixtures):
    with inside(stored_fixtures.acme):
        user = User.objects.get(handle="ada")
        user.set_password("long enough 8")
        user.save()
        User.objects.filter(pk=user.pk).end_sessions()
        user.refresh_from_db()
    before = back_up()
    wipe()

    restore(before)

    with inside(stored_fixtures.acme):
        restored = User.objects.get(handle="ada")
        assert restored.check_password("long enough 8")
        assert restored.get_session_auth_hash() == user.get_session_auth_hash()
    with inside(Tenant.objects.get(subdomain="platform")):
        assert User.objects.get().is_superuser


def test_ids_of_deleted_rows_are_not_given_again_after_a_restore(stored_fixtures):
    with inside(stored_fixtures.acme):
        last = create_task(stored_fixtures.ada, stored_fixtures.apollo, title="last")
        delete_task(stored_fixtures.ada, last)
        purge(stored_fixtures.ada, last)
    before = back_up()
    wipe()
    restore(before)

    with inside(stored_fixtures.acme):
        task = create_task(stored_fixtures.ada, stored_fixtures.apollo, title="new")

    assert task.pk == last.pk + 1


def run_in_thread(call):
    """Run the call in another thread, and fail if it does not end in time."""
    errors = []

    def run():
        try:
            call()
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert errors == []


@pytest.mark.parametrize("kind", ["backup", "export"])
def test_writer_does_not_wait_and_its_row_is_not_in_the_file(stored_fixtures, kind):
    def write_task():
        with inside(stored_fixtures.acme, max_wait=1):
            create_task(stored_fixtures.ada, stored_fixtures.apollo, title="written meanwhile")

    writes = iter([partial(run_in_thread, write_task)])
    file = io.BytesIO()
    progress = lambda _: next(writes, lambda: None)()  # noqa: E731 - after the first rows

    if kind == "backup":
        write_backup(file, progress)
    else:
        export_tenant(stored_fixtures.acme, file, progress)

    with inside(stored_fixtures.acme):
        assert Task.objects.filter(title="written meanwhile").exists()
    assert b"written meanwhile" not in file.getvalue()


@pytest.mark.slow
def test_backup_made_while_others_write_restores_and_verifies(stored_fixtures):
    """Each writer's tasks are numbered, so that a backup without one of them shows a gap."""
    tokens = [ApiTokenFactory(actor=a)[1] for a in (stored_fixtures.ada, stored_fixtures.bob)]
    stop, backups = threading.Event(), []

    def write(index):
        client = ApiClient(tokens[index % 2])
        for number in range(10_000):
            if stop.is_set():
                return
            title = f"writer {index} task {number}"
            created = client.post("/tasks", {"project": "APO", "title": title, "tags": [title]})
            path = f"/tasks/{created.json()['id']}"
            client.patch(path, {"title": title, "priority": "high", "blocked_by": ["APO-1"]})
            if number % 3 == 0:
                client.delete(path)

    def work(index):
        try:
            write(index)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    try:
        backups += [back_up() for _ in range(20 if PROOF else 3)]
    finally:
        stop.set()
        for thread in threads:
            thread.join(TIMEOUT)

    assert len({len(data) for data in backups}) > 1, "the writers have written meanwhile"
    for data in backups:
        wipe()
        restore(data)
        assert faults_of_all_tenants() == []
        assert back_up() == data
        with inside(stored_fixtures.acme):
            titles = set(Task.everything.values_list("title", flat=True))
        for index in range(4):
            written = [t for t in titles if t.startswith(f"writer {index} ")]
            assert {f"writer {index} task {n}" for n in range(len(written))} == set(written)


@pytest.mark.slow
def test_backup_moves_between_databases(stored_fixtures, tmp_path):
    """From the database of this test to a new SQLite file, and back."""
    environment = clean_environment(tmp_path / "data")
    environment["TASKFLOW_SECRET_KEY"] = "another key of another installation"
    run = partial(
        subprocess.run, cwd=ROOT, env=environment, check=True, capture_output=True, text=True
    )
    manage = [sys.executable, "manage.py"]
    call_command("backup", str(tmp_path / "first"))
    run([*manage, "migrate", "--verbosity", "0"])

    restored = run([*manage, "restore", str(tmp_path / "first")])

    assert "Restored" in restored.stdout
    assert "not the one of the backup" in restored.stderr
    assert "All values are right." in run([*manage, "verify"]).stdout
    run([*manage, "backup", str(tmp_path / "second")])
    wipe()
    call_command("restore", str(tmp_path / "second"))
    call_command("verify")
    call_command("backup", str(tmp_path / "third"))
    assert (tmp_path / "third").read_bytes() == (tmp_path / "first").read_bytes()


def test_file_that_is_cut_changed_or_newer_is_refused_and_nothing_is_stored(stored_fixtures):
    data = back_up()
    wipe()
    lines = data.splitlines(keepends=True)
    newer = f'"version":{VERSION + 1}'.encode()
    bad = {
        "empty": (b"", "not a TaskFlow backup"),
        "an export": (data.replace(b"taskflow-backup", b"taskflow-export"), "not a TaskFlow"),
        "cut in a line": (data[: len(data) // 2], "cut off"),
        "cut after a line": (b"".join(lines[:-1]), "cut off"),
        "cut by one byte": (data[:-1], "cut off"),
        "edited": (data.replace(b"Launch", b"Lunchh", 1), "checksum"),
        "a line is missing": (b"".join(lines[:5] + lines[6:]), "checksum"),
        "more behind it": (data + lines[3], "cut off"),
        "twice": (data + data, "checksum"),
        "newer": (data.replace(f'"version":{VERSION}'.encode(), newer), "Upgrade TaskFlow"),
    }
    for name, (broken, message) in bad.items():
        assert broken != data, name
        with pytest.raises(InvalidExport, match=message):
            restore(broken)
            pytest.fail(name)
        assert not Tenant.objects.exists(), name


def signed_backup(data, change):
    """Return the backup with changed lines and a last line that suits them."""
    lines = [change(line) for line in data.splitlines(keepends=True)[:-1]]
    end = json.loads(data.splitlines()[-1])
    body = b"".join(lines)
    end["sha256"] = hashlib.sha256(body).hexdigest()
    return body + json.dumps(end).encode() + b"\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"status":"todo"', b'"status":"open"', "cannot be stored"),
        (b'"tasks.page"', b'"tasks.poem"', "a newer TaskFlow wrote the file"),
        (b'"key":"APO"', b'"verse":"APO"', "a newer TaskFlow wrote the file"),
    ],
    ids=["a value", "a model", "a column"],
)
def test_row_that_cannot_be_stored_prevents_the_whole_restore(stored_fixtures, old, new, message):
    data = back_up()
    wipe()

    with pytest.raises(InvalidExport, match=message):
        restore(signed_backup(data, lambda line: line.replace(old, new)))

    assert not Tenant.objects.exists()


def test_backup_of_an_older_version_gets_what_it_lacks(stored_fixtures):
    older = f'"version":{VERSION - 1}'.encode()

    def make_older(line):
        if line.startswith(b'{"model":"tasks.projectkey"'):
            return b""
        return line.replace(f'"version":{VERSION}'.encode(), older) if b"last_ids" in line else line

    data = signed_backup(back_up(), make_older)
    wipe()

    restore(data)

    with inside(stored_fixtures.acme):
        assert ProjectKey.objects.get(key="APO").project_id == stored_fixtures.apollo.pk
    assert faults_of_all_tenants() == []


def test_restore_into_a_database_with_a_tenant_is_refused(stored_fixtures):
    data = back_up()
    with inside(stored_fixtures.acme):
        events = Event.objects.count()

    with pytest.raises(InvalidExport, match="not empty"):
        restore(data)

    with inside(stored_fixtures.acme):
        assert Event.objects.count() == events


@pytest.mark.django_db
def test_database_without_tenants_is_neither_backed_up_nor_verified(tmp_path, capsys):
    """A script without the settings of the server would otherwise succeed every night."""
    database = describe_database(connection)

    with pytest.raises(CommandError, match="no tenant in ") as refused:
        call_command("backup", str(tmp_path / "x.backup"))
    assert database in str(refused.value)
    assert not (tmp_path / "x.backup").exists()
    with pytest.raises(CommandError, match="There is no tenant"):
        call_command("verify")
    assert capsys.readouterr().out == f"Checking {database}.\n"


def test_backup_and_restore_commands_report_what_they_did(stored_fixtures, tmp_path, capsys):
    path = tmp_path / "all.backup"
    call_command("backup", str(path))
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(CommandError, match="Name a new file"):
        call_command("backup", str(path))
    with pytest.raises(CommandError, match="not empty"):
        call_command("restore", str(path))
    with pytest.raises(CommandError, match="No such file"):
        call_command("restore", str(tmp_path / "nothing"))
    call_command("restore", str(path), check=True)
    wipe()
    call_command("restore", str(path))

    output = capsys.readouterr().out
    assert "of 3 tenant(s) in" in output
    database = describe_database(connection)
    assert f", from {database}. Keep the secret key" in output
    assert f", into {database}.\n" in output
    assert "The file is complete" in output
    assert Tenant.objects.count() == 3
    if connection.vendor == "postgresql":
        call_command("verify", tenant="acme")
