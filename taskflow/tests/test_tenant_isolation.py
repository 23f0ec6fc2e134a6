"""
Tenant isolation: each protection tested alone.

The application's is tested on both databases, PostgreSQL's by raw SQL. Tests marked `isolation`
are also run with the managers' filter off and with other logins (`make test-isolation`).
"""

from __future__ import annotations

import os

import psycopg
import pytest
from django.db import DatabaseError, IntegrityError, connection, models, transaction

from accounts.models import (
    ApiToken,
    IdempotencyRecord,
    MailToken,
    RecoveryCode,
    SecondFactor,
    Session,
    User,
)
from taskflow import tenancy
from taskflow.audit.models import Event
from taskflow.http.errors import NotFound
from taskflow.tenancy import TenantError, across_tenants, checks, has_roles, inside
from taskflow.tenancy.checks import check_models, find_violations, tenant_models
from tasks.models import (
    Comment,
    Delivery,
    FormerNumber,
    Notification,
    NotificationPosition,
    NotificationPreference,
    Page,
    Project,
    ProjectKey,
    ProjectMember,
    Tag,
    Task,
    TaskBlocker,
    TaskCountDelta,
    TaskTag,
    View,
    Webhook,
)
from tasks.models.claims import Claim
from tasks.models.invitations import Invitation

POSTGRES = connection.vendor == "postgresql"
on_postgres = pytest.mark.skipif(not POSTGRES, reason="about row-level security")
MODELS = [
    User,
    ApiToken,
    Event,
    Project,
    ProjectKey,
    ProjectMember,
    Tag,
    Task,
    TaskTag,
    TaskBlocker,
    TaskCountDelta,
    FormerNumber,
    IdempotencyRecord,
    SecondFactor,
    RecoveryCode,
    MailToken,
    Invitation,
    Claim,
    Session,
    Comment,
    Page,
    View,
    Webhook,
    Delivery,
    Notification,
    NotificationPosition,
    NotificationPreference,
]


def sql(text, *params):
    with connection.cursor() as cursor:
        cursor.execute(text, params)
        return cursor.fetchall() if cursor.description else cursor.rowcount


def test_tests_use_the_database_of_database_url():
    assert POSTGRES == os.environ.get("DATABASE_URL", "").startswith("postgres")


def test_every_tenant_model_is_listed_here():
    assert set(tenant_models()) == set(MODELS)


# ---- in the application -------------------------------------------------------------------------

QUERIES = {
    "all": lambda m: list(m.objects.all()),
    "count": lambda m: m.objects.count(),
    "exists": lambda m: m.objects.exists(),
    "exclude": lambda m: m.objects.exclude(pk=0).exists(),
    "get": lambda m: m.objects.get(pk=1),
    "in_bulk": lambda m: m.objects.in_bulk(),
    "aggregate": lambda m: m.objects.aggregate(n=models.Count("*")),
    "values": lambda m: list(m.objects.values("pk")),
    "update": lambda m: m.objects.filter(pk=1).update(pk=2),
    "delete": lambda m: m.objects.all().delete(),
    "create": lambda m: m.objects.create(),
    "get_or_create": lambda m: m.objects.get_or_create(pk=1),
    "bulk_create": lambda m: m.objects.bulk_create([m(tenant_id=1)]),
    "raw": lambda m: list(m.objects.raw(f"SELECT * FROM {m._meta.db_table}")),
    "base manager": lambda m: list(m._base_manager.all()),
    "save": lambda m: m(tenant_id=1).save(),
    "explain": lambda m: m.objects.explain(),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("query", QUERIES)
def test_a_query_outside_a_unit_of_work_is_refused(db, query, model):
    with pytest.raises(TenantError):
        QUERIES[query](model)


def test_related_rows_are_not_visible_outside_their_tenant(fixtures):
    with pytest.raises(TenantError):
        list(fixtures.apollo.tasks.all())
    with inside(fixtures.globex):
        assert list(fixtures.apollo.tasks.all()) == []


@pytest.mark.isolation
def test_queries_in_a_tenant_return_only_its_rows(fixtures):
    with inside(fixtures.acme):
        for model in MODELS:
            assert {row.tenant_id for row in model.objects.all()} <= {fixtures.acme.pk}
        assert not Task.objects.filter(pk=fixtures.secret_task.pk).exists()
        assert Task.objects.filter(project__members__handle="mallory").count() == 0
        assert list(Project.objects.values_list("key", flat=True)) == ["APO"]


@pytest.mark.isolation
def test_bulk_updates_and_deletes_do_not_change_other_tenants(fixtures):
    with inside(fixtures.acme):
        assert Task.objects.filter(pk=fixtures.secret_task.pk).update(title="x") == 0
        assert Task.objects.filter(pk=fixtures.secret_task.pk).delete()[0] == 0
        Task.objects.all().update(title="ours")
        Tag.objects.all().delete()

    with inside(fixtures.globex):
        assert Task.objects.get().title == "Plot"


@pytest.mark.isolation
def test_a_row_of_another_tenant_is_neither_saved_nor_deleted(fixtures):
    foreign = fixtures.secret_task
    for attempt in (
        lambda: foreign.save(),
        lambda: Task.objects.bulk_update([foreign], ["title"]),
        lambda: Task.objects.bulk_create([Task(tenant=fixtures.globex, project=fixtures.secret)]),
        lambda: Task(pk=foreign.pk, tenant=fixtures.acme, project=fixtures.apollo, number=9).save(),
    ):
        with inside(fixtures.acme), transaction.atomic():
            try:
                with transaction.atomic():
                    attempt()
                    connection.check_constraints()
            except (TenantError, DatabaseError, NotFound):  # its project is not there
                pass
            transaction.set_rollback(True)
    with inside(fixtures.acme):
        try:
            with transaction.atomic():
                foreign.delete()
        except TenantError:
            pass

    with inside(fixtures.globex):
        assert Task.objects.get().title == "Plot"


def test_writing_a_row_of_another_tenant_raises_tenant_error(fixtures):
    foreign = fixtures.secret_task
    with inside(fixtures.acme):
        for attempt in (
            foreign.save,
            foreign.delete,
            lambda: Task.objects.bulk_update([foreign], ["title"]),
            lambda: Task.objects.update(tenant=fixtures.globex),
            lambda: Task.objects.bulk_create(
                [Task(project=fixtures.apollo)], update_conflicts=True, unique_fields=["id"]
            ),
        ):
            with pytest.raises(TenantError):
                attempt()
        with pytest.raises(Task.DoesNotExist):
            foreign.refresh_from_db()


@pytest.mark.isolation
@pytest.mark.raw_sql
@pytest.mark.parametrize(
    ("field", "name"), [("project", "secret"), ("parent", "secret_task"), ("assignee", "mallory")]
)
def test_a_foreign_key_to_a_row_of_another_tenant_is_refused(fixtures, field, name):
    row = getattr(fixtures, name)
    target = row.user.pk if name == "mallory" else row.pk

    with inside(fixtures.acme), pytest.raises(IntegrityError), transaction.atomic():
        Task.objects.filter(pk=fixtures.task.pk).update(**{f"{field}_id": target})
        connection.check_constraints()


def test_units_of_work_of_different_tenants_cannot_be_nested(fixtures):
    with inside(fixtures.acme):
        with inside(fixtures.acme):
            assert Task.objects.count() == 1
        with pytest.raises(TenantError), inside(fixtures.globex):
            pass
        with pytest.raises(TenantError), across_tenants("test"):
            pass
        assert Task.objects.count() == 1
    assert tenancy.current_tenant_id() is None


@pytest.mark.isolation
def test_an_exception_ends_the_unit_of_work_and_rolls_it_back(fixtures):
    with pytest.raises(ZeroDivisionError), inside(fixtures.acme):
        Task.objects.all().update(title="half done")
        raise ZeroDivisionError

    assert tenancy.current_tenant_id() is None
    with inside(fixtures.acme):
        assert Task.objects.get().title == "Launch"
    with inside(fixtures.globex):
        assert Task.objects.get().title == "Plot"


@pytest.mark.isolation
def test_a_rolled_back_savepoint_keeps_the_tenant(fixtures):
    with inside(fixtures.acme):
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            raise ZeroDivisionError

        assert Task.objects.get().title == "Launch"


def test_across_tenants_shows_all_rows_and_is_logged(fixtures, caplog):
    if POSTGRES and not has_roles(connection):
        with pytest.raises(TenantError), across_tenants("test"):
            pass
        return

    with across_tenants("counting for a test"):
        assert Task.objects.count() == 2

    assert caplog.records[-1].reason == "counting for a test"


# ---- in the database ----------------------------------------------------------------------------


@pytest.fixture
def plain_connection(db):
    """A new connection of the login, as a script would open it."""
    params = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    with psycopg.connect(**{k: v for k, v in params.items() if k in names}) as opened:
        yield opened


@on_postgres
@pytest.mark.isolation
@pytest.mark.raw_sql
@pytest.mark.parametrize("model", MODELS)
def test_raw_sql_without_a_tenant_is_refused(fixtures, model):
    table = model._meta.db_table
    for statement in (
        f"SELECT count(*) FROM {table}",
        f"UPDATE {table} SET tenant_id = tenant_id",
        f"DELETE FROM {table}",
    ):
        with transaction.atomic():
            sql(
                "SELECT set_config('taskflow.tenant', '', true), set_config('role', %s, true)",
                role(),
            )
            with pytest.raises(DatabaseError, match="invalid input syntax"), transaction.atomic():
                sql(statement)
            transaction.set_rollback(True)


def role():
    """The role of a unit of work. Policies do not apply to a superuser outside one."""
    return tenancy.APP_ROLE if has_roles(connection) else "none"


@on_postgres
@pytest.mark.isolation
@pytest.mark.raw_sql
def test_a_new_connection_without_a_tenant_is_refused(plain_connection):
    if has_roles(connection):
        plain_connection.execute(f"SET ROLE {tenancy.APP_ROLE}")
    with pytest.raises(psycopg.errors.UndefinedObject, match=r"taskflow\.tenant"):
        plain_connection.execute("SELECT count(*) FROM tasks_task")


@on_postgres
@pytest.mark.isolation
@pytest.mark.raw_sql
def test_raw_sql_in_one_tenant_neither_reads_nor_changes_another(fixtures):
    with inside(fixtures.acme):
        assert sql("SELECT count(*) FROM tasks_task") == [(1,)]
        assert sql("SELECT id FROM tasks_task WHERE tenant_id = %s", fixtures.globex.pk) == []
        assert sql("UPDATE tasks_task SET title = 'x' WHERE id = %s", fixtures.secret_task.pk) == 0
        assert sql("DELETE FROM tasks_project WHERE tenant_id = %s", fixtures.globex.pk) == 0
        for statement in (
            f"UPDATE tasks_task SET tenant_id = {fixtures.globex.pk}",
            "INSERT INTO tasks_tag (tenant_id, name, created_at, updated_at)"
            f" VALUES ({fixtures.globex.pk}, 'foreign', now(), now())",
        ):
            with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
                sql(statement)
        with pytest.raises(IntegrityError), transaction.atomic():
            sql("UPDATE tasks_task SET project_id = %s", fixtures.secret.pk)


@on_postgres
@pytest.mark.isolation
@pytest.mark.raw_sql
def test_the_app_role_can_neither_change_policies_nor_truncate(fixtures):
    if not has_roles(connection):
        pytest.skip("a plain login owns its tables")
    with inside(fixtures.acme):
        for statement in (
            "TRUNCATE tasks_tasktag",
            "ALTER TABLE tasks_task NO FORCE ROW LEVEL SECURITY",
            "DROP POLICY tenant_rows ON tasks_task",
            "CREATE POLICY extra ON tasks_task USING (true)",
            "DROP FUNCTION search_tasks_task(text)",
            "ALTER FUNCTION search_tasks_task(text) RESET search_path",
            "CREATE OR REPLACE FUNCTION search_tasks_task(query text) RETURNS SETOF bigint"
            " LANGUAGE sql AS 'SELECT id FROM tasks_task'",
        ):
            with pytest.raises(DatabaseError), transaction.atomic():
                sql(statement)


@on_postgres
@pytest.mark.isolation
@pytest.mark.raw_sql
def test_search_functions_return_rows_of_one_tenant_only(fixtures):
    """They run with the owner's rights, so only their own condition limits them to a tenant."""
    with pytest.raises(DatabaseError), transaction.atomic():
        sql("SELECT search_tasks_task('plot')")
    with inside(fixtures.acme):
        for query in (
            "plot",
            f"plot | '@{fixtures.globex.pk}'",
            f"'@{fixtures.globex.pk}':*",
            "!launch",
        ):
            assert sql("SELECT search_tasks_task(%s)", query) == []
        assert sql("SELECT search_tasks_task('!plot')") == [(fixtures.task.pk,)]


@on_postgres
@pytest.mark.isolation
@pytest.mark.raw_sql
def test_connection_has_no_tenant_after_the_unit_of_work(fixtures):
    login = sql("SELECT session_user")[0][0]

    with inside(fixtures.acme):
        assert sql("SELECT current_setting('taskflow.tenant')") == [(str(fixtures.acme.pk),)]
        assert sql("SELECT current_user")[0][0] == (login if role() == "none" else role())

    assert sql("SELECT current_setting('taskflow.tenant'), current_user") == [("", login)]


@pytest.mark.isolation
def test_the_database_and_the_models_have_no_violation(db):
    assert find_violations() == []
    assert check_models(None) == []


@on_postgres
@pytest.mark.isolation
@pytest.mark.raw_sql
@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE tasks_tag NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE tasks_tag DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant_rows ON tasks_tag",
        "CREATE POLICY extra ON tasks_tag USING (true)",
        "ALTER POLICY tenant_rows ON tasks_tag USING (tenant_id > 0)",
        "ALTER POLICY tenant_rows ON tasks_tag WITH CHECK (true)",
        "CREATE TABLE extra (tenant_id bigint)",
        "CREATE VIEW extra AS SELECT * FROM tasks_tag",
        "CREATE OR REPLACE FUNCTION search_tasks_task(query text) RETURNS SETOF bigint"
        " LANGUAGE sql SECURITY DEFINER AS 'SELECT id FROM tasks_task'",
        "GRANT EXECUTE ON FUNCTION search_tasks_task(text) TO public",
    ],
)
def test_a_violation_is_found_and_makes_the_server_not_ready(db, client, change):
    with transaction.atomic():
        if has_roles(connection):
            sql(f"SET LOCAL ROLE {tenancy.OWNER_ROLE}")
        sql(change)
        sql("SET LOCAL ROLE NONE")

        assert find_violations()
        assert client.get("/readyz").status_code == 503
        transaction.set_rollback(True)


@on_postgres
@pytest.mark.isolation
def test_missing_role_of_units_of_work_makes_the_server_not_ready(db, client, monkeypatch):
    if not has_roles(connection):
        pytest.skip("units of work have no role of their own")
    monkeypatch.setattr(checks, "APP_ROLE", "role_that_was_dropped")

    response = client.get("/readyz")

    assert response.status_code == 503
    assert "role_that_was_dropped" in response.json()["problems"][0]


@on_postgres
@pytest.mark.raw_sql
def test_every_foreign_key_between_tenant_tables_is_composite(db):
    single_column = sql(
        """SELECT conrelid::regclass::text, conname FROM pg_constraint c
        WHERE contype = 'f' AND array_length(conkey, 1) = 1
          AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = confrelid AND attname = 'tenant_id')
          AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = conrelid AND attname = 'tenant_id')"""
    )

    assert single_column == []
