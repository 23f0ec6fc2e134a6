"""Operators deactivate, activate and delete tenants. A deletion leaves no row in any table."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.apps import apps
from django.contrib.sessions.models import Session as BrowserSession
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import Tenant, User
from conftest import PASSWORD, ApiClient, Fixtures, new_tenant, sign_in_browser, token_of
from taskflow.audit.models import Event
from taskflow.tenancy import inside, is_tenant_model
from tasks.tests.test_constraints import fill_tables

TENANT_MODELS = [m for m in apps.get_models(include_auto_created=True) if is_tenant_model(m)]


@pytest.fixture(autouse=True)
def default_tenant(settings):
    settings.DEFAULT_TENANT = "acme"


def count_rows(tenant: Tenant) -> dict[str, int]:
    """The number of rows of the tenant in each table that has some, read from the tables."""
    counts = {}
    with inside(tenant), connection.cursor() as cursor:
        for model in TENANT_MODELS:
            cursor.execute(
                f"SELECT count(*) FROM {model._meta.db_table} WHERE tenant_id = %s",
                [tenant.pk],
            )
            counts[model._meta.label] = cursor.fetchone()[0]
    return {label: count for label, count in counts.items() if count}


def make_due(tenant: Tenant) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(deletion_at=timezone.now() - timedelta(seconds=1))


def delete(tmp_path) -> None:
    call_command("delete_tenant", "acme", export=str(tmp_path / "acme.jsonl"))


@pytest.fixture
def filled(fixtures: Fixtures) -> Fixtures:
    """The fixtures, with a row of Acme in every table and a browser that is signed in."""
    with inside(fixtures.acme):
        fill_tables(fixtures.ada, fixtures.apollo, fixtures.task)
        sign_in_browser(Client(), fixtures.boss.user)
    with inside(fixtures.globex):
        sign_in_browser(Client(), fixtures.mallory.user)
    return fixtures


# ---- deactivating -------------------------------------------------------------------------------


def test_deactivated_tenant_signs_nobody_in_and_its_tokens_and_sessions_do_not_work(db):
    boss = new_tenant("acme", "boss", PASSWORD)
    client, browser = ApiClient(token_of(boss)), Client(SERVER_NAME="acme.localhost")
    form = {"username": "boss@acme.example", "password": PASSWORD}
    assert browser.post("/admin/login/", form).status_code == 302

    call_command("deactivate_tenant", "acme")

    r = client.get("/me")
    assert (r.status_code, r.json()["code"]) == (401, "unauthenticated")
    body = {"email": "boss@acme.example", "password": PASSWORD, "tenant": "acme"}
    assert ApiClient().post("/auth/login", body).status_code == 404
    assert browser.get("/admin/").status_code == 404
    assert browser.post("/admin/login/", form).status_code == 404
    assert browser.get("/api/v1/me").status_code == 401
    call_command("activate_tenant", "acme")
    assert (client.get("/me").status_code, browser.get("/admin/").status_code) == (200, 200)


def test_changes_of_operators_are_events_that_nobody_undoes(fixtures, as_, events):
    call_command("deactivate_tenant", "acme")
    call_command("activate_tenant", "acme")
    made = events(fixtures.acme, subject_type="tenant")
    boss = as_(fixtures.boss)

    for event in made:
        boss.post("/undo", {"event_ids": [event.pk], "on_conflict": "skip"})

    assert [(e.verb, e.via) for e in made] == [("deactivated", "command"), ("activated", "command")]
    assert Tenant.objects.get(pk=fixtures.acme.pk).is_active


@pytest.mark.parametrize("command", ["deactivate_tenant", "activate_tenant"])
def test_commands_refuse_what_they_cannot_change(db, command):
    new_tenant("platform", "root")

    with pytest.raises(CommandError, match="no tenant"):
        call_command(command, "nobody")
    with pytest.raises(CommandError, match="operators"):
        call_command(command, "platform")


def test_operator_deactivates_and_activates_in_the_admin(db):
    boss, root = new_tenant("acme", "boss"), new_tenant("platform", "root")
    with inside(root.tenant):
        User.objects.filter(pk=root.user.pk).update(is_superuser=True)
    browser = Client(SERVER_NAME="platform.localhost")
    with inside(root.tenant):
        sign_in_browser(browser, root.user)

    def press(action: str) -> None:
        chosen = {"action": action, "_selected_action": [boss.tenant.pk]}
        assert browser.post("/admin/accounts/tenant/", chosen).status_code == 302

    press("deactivate")
    assert Tenant.objects.get(pk=boss.tenant.pk).is_active, "the operator works elsewhere"
    press("work_here")
    press("deactivate")
    assert not Tenant.objects.get(pk=boss.tenant.pk).is_active
    press("activate")
    assert Tenant.objects.get(pk=boss.tenant.pk).is_active


def test_administrator_of_the_tenant_cannot_deactivate_it_in_the_admin(fixtures):
    browser = Client(SERVER_NAME="acme.localhost")
    with inside(fixtures.acme):
        sign_in_browser(browser, fixtures.boss.user)

    chosen = {"action": "deactivate", "_selected_action": [fixtures.acme.pk]}
    browser.post("/admin/accounts/tenant/", chosen)

    assert Tenant.objects.get(pk=fixtures.acme.pk).is_active


# ---- deleting -----------------------------------------------------------------------------------


def test_deletion_exports_first_and_takes_effect_after_30_days(filled, tmp_path):
    delete(tmp_path)

    lines = (tmp_path / "acme.jsonl").read_text().splitlines()
    assert '"subdomain":"acme"' in lines[0]
    assert any('"tasks.task"' in line for line in lines)
    tenant = Tenant.objects.get(pk=filled.acme.pk)
    assert not tenant.is_active
    assert timedelta(days=29) < tenant.deletion_at - timezone.now() < timedelta(days=31)
    before = count_rows(filled.acme)
    call_command("purge")
    after = count_rows(filled.acme)
    assert after["tasks.Task"] == before["tasks.Task"], "the 30 days have not passed"


def test_deletion_is_taken_back_by_activating(filled, tmp_path, as_):
    delete(tmp_path)

    call_command("activate_tenant", "acme")

    make_nothing_due = Tenant.objects.get(pk=filled.acme.pk)
    assert (make_nothing_due.is_active, make_nothing_due.deletion_at) == (True, None)
    call_command("purge")
    assert as_(filled.ada).get("/tasks/APO-1").status_code == 200


def test_file_that_exists_stops_the_deletion(filled, tmp_path):
    (tmp_path / "acme.jsonl").write_text("kept")

    with pytest.raises(CommandError, match="exists"):
        delete(tmp_path)

    assert Tenant.objects.get(pk=filled.acme.pk).deletion_at is None
    assert (tmp_path / "acme.jsonl").read_text() == "kept"


def test_purge_after_30_days_leaves_no_row_in_any_table(filled, tmp_path):
    others = count_rows(filled.globex)
    filled_labels = set(count_rows(filled.acme))
    assert {m._meta.label for m in TENANT_MODELS} - filled_labels == set(), "fill every table"
    delete(tmp_path)
    make_due(filled.acme)

    call_command("purge")

    assert count_rows(filled.acme) == {}
    assert not Tenant.objects.filter(pk=filled.acme.pk).exists()
    assert count_rows(filled.globex) == others
    assert BrowserSession.objects.count() == 1, "Mallory's"


def test_killed_purge_is_finished_by_the_next_one(filled, tmp_path):
    delete(tmp_path)
    make_due(filled.acme)
    Tenant.objects.filter(pk=filled.acme.pk).update(subdomain=f"_deleting-{filled.acme.pk}")
    with inside(filled.acme):
        Event.objects.all()._raw_delete(connection.alias)  # as far as the killed one came

    with pytest.raises(CommandError, match="no tenant"):
        call_command("activate_tenant", "acme")
    call_command("purge")

    assert count_rows(filled.acme) == {}
    assert not Tenant.objects.filter(pk=filled.acme.pk).exists()
