from __future__ import annotations

import os
import stat
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import ApiToken, Tenant, User, UserKind
from conftest import ApiClient
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.models import Project, ProjectMember, Role, Status, Task
from tasks.seeding import benchmark, demo
from tasks.seeding.benchmark import split_tasks
from tasks.seeding.demo import demo_token
from tasks.seeding.logins import DEMO_EMAIL, DEMO_PASSWORD
from tasks.tests.invariants import wrong_columns

pytestmark = [pytest.mark.slow, pytest.mark.one_database]


def seed(*args, **kwargs):
    out = StringIO()
    call_command("seed", *args, stdout=out, **kwargs)
    return out.getvalue()


@pytest.fixture
def debug(settings):
    settings.DEBUG = True


def test_demo_has_two_tenants_with_tasks_in_every_status(db, debug):
    seed()

    assert set(Tenant.objects.values_list("subdomain", flat=True)) == {"acme", "globex", "platform"}
    for tenant in Tenant.objects.exclude(subdomain="platform"):
        with inside(tenant):
            assert User.objects.filter(kind=UserKind.HUMAN).count() >= 3
            assert User.objects.filter(kind=UserKind.AGENT).count() == 1
            assert Project.objects.values("owner").distinct().count() >= 2
            assert Task.objects.count() >= 12
            assert set(Task.objects.values_list("status", flat=True)) == set(Status.values)
            assert Task.objects.values("priority").distinct().count() == 3
            assert Task.objects.exclude(parent=None).exists()
            assert Task.objects.exclude(due_date=None).exists()
            assert Task.objects.exclude(due_on=None).exists()
            assert Task.objects.exclude(tags=None).exists()
            assert set(ProjectMember.objects.values_list("role", flat=True)) == set(Role.values)
            created = Event.objects.filter(subject_type="task", verb="created", via="command")
            assert created.count() == Task.objects.count()


def test_second_run_changes_nothing_and_reports_it(db, debug):
    seed()
    count = Tenant.objects.count()

    assert seed() == "The demo exists already; nothing was changed.\n"

    assert Tenant.objects.count() == count


def test_failure_during_seeding_stores_nothing(db, debug, monkeypatch):
    def fail(**kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(demo, "create_operator", fail)

    with pytest.raises(ZeroDivisionError):
        seed()

    assert not Tenant.objects.exists()


def test_with_debug_the_demo_login_and_token_work(db, debug):
    printed = seed()

    assert DEMO_PASSWORD not in printed
    login = {"email": DEMO_EMAIL, "password": DEMO_PASSWORD}
    assert ApiClient().post("/auth/login", login).status_code == 200
    assert ApiClient(demo_token(Tenant.objects.get(subdomain="acme"))).get("/me").status_code == 200


def test_without_debug_password_and_token_are_random_and_printed_once(db, settings):
    settings.DEBUG = False

    printed = seed()

    password = printed.split("all others: ")[1].split()[0]
    token = printed.split(f"token of {DEMO_EMAIL}: ")[1].split()[0]
    assert ApiClient(token).get("/me").json()["email"] == DEMO_EMAIL
    for secret, status in ((password, 200), (DEMO_PASSWORD, 401)):
        login = {"email": DEMO_EMAIL, "password": secret}
        assert ApiClient().post("/auth/login", login).status_code == status
    assert ApiClient(demo_token(Tenant.objects.get(subdomain="acme"))).get("/me").status_code == 401


# ---- for benchmarks -----------------------------------------------------------------------------


def test_tasks_are_split_unevenly_and_completely():
    assert sum(split_tasks(100, 1_000_000)) == 1_000_000
    assert split_tasks(3, 100)[0] > split_tasks(3, 100)[2]


@pytest.mark.raw_sql
@pytest.mark.django_db(transaction=True)
def test_benchmark_rows_are_created(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "CHUNK", 40)
    file = tmp_path / "tokens"

    printed = seed(tenants=2, tasks=400, tokens=str(file))

    assert printed.startswith("Seeded 2 tenants with 400 tasks in ")
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    for line in file.read_text().splitlines():
        tenant_id, token = line.split()
        assert ApiClient(token).get("/me").json()["tenant"]["id"] == int(tenant_id)
    total = 0
    for tenant in Tenant.objects.all():
        with inside(tenant):
            total += Task.objects.count()
            assert Event.objects.filter(subject_type="task").count() == Task.objects.count()
            for project in Project.objects.all():
                numbers = sorted(project.tasks.values_list("number", flat=True))
                assert numbers == list(range(1, project.last_number + 1))
            members = set(ProjectMember.objects.values_list("user_id", flat=True))
            assert set(Task.objects.exclude(assignee=None).values_list("assignee_id", flat=True)) <= members  # fmt: skip
            assert set(Task.objects.values_list("status", flat=True)) == set(Status.values)
            assert Task.objects.exclude(tags=None).exists()
            assert ApiToken.objects.count() == 1
            assert list(wrong_columns()) == []
    assert total == 400
    call_command("verify")  # raises CommandError if an event differs from its row
    with pytest.raises(CommandError, match="already"):
        seed(tenants=1, tasks=1)


def test_invalid_arguments_are_refused(db):
    with pytest.raises(CommandError):
        seed(tenants=0, tasks=5)
    with pytest.raises(CommandError):
        seed(tenants=1, tasks=-5)
