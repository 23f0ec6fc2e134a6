"""Constraints of both databases: rows that they refuse if no action checks them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from django.apps import apps
from django.db import DatabaseError, IntegrityError, connection, models, transaction

from accounts.actions.mail_tokens import issue_mail_token
from accounts.actions.sessions import start_session
from accounts.actions.tokens import issue_token
from accounts.models import (
    ApiToken,
    IdempotencyRecord,
    MailPurpose,
    MailToken,
    RecoveryCode,
    SecondFactor,
    User,
)
from taskflow.audit.actor import TokenScope
from taskflow.audit.models import Event
from taskflow.audit.recorder import create
from taskflow.tenancy import (
    CompositeFK,
    RowSecurity,
    TenantFK,
    TenantPrimaryKey,
    inside,
    is_tenant_model,
)
from tasks.actions.tags import create_tag
from tasks.actions.webhooks import create_webhook, ping
from tasks.changes.tasks import create_task, update_task
from tasks.models import (
    Claim,
    Comment,
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
    TaskTag,
)
from tasks.models.deliveries import Delivery
from tasks.models.invitations import Invitation
from tasks.models.views import View
from tasks.models.webhooks import Webhook
from tasks.tests.factories import ClaimFactory, ViewFactory

TENANT_MODELS = [model for model in apps.get_models() if is_tenant_model(model)]
FOREIGN_KEYS = [
    (model, field.name)
    for model in TENANT_MODELS
    for field in model._meta.local_fields
    if isinstance(field, TenantFK)
]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
on_postgres = pytest.mark.skipif(connection.vendor != "postgresql", reason="about PostgreSQL")


def assert_refused(write):
    """Fail unless the database refuses `write()`, at the latest before a commit."""
    with pytest.raises(IntegrityError), transaction.atomic():
        write()
        connection.check_constraints()


def query(sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


@pytest.fixture
def acme(fixtures):
    """The fixtures, with a row of Acme in every table and a unit of work of Acme."""
    with inside(fixtures.acme):
        fill_tables(fixtures.ada, fixtures.apollo, fixtures.task)
        yield fixtures


def fill_tables(actor, project, task):
    """Insert a row into every table that has none yet."""
    issue_token(actor, actor.user, "test", TokenScope.READ, None)
    update_task(actor, task, tags=["urgent"])
    first = create_task(actor, project, title="first")
    TaskBlocker.objects.create(task=task, blocker=first)
    FormerNumber.objects.create(project=project, number=77, task=task)
    create(actor, Comment(task=task, author=actor.user, body="so"))
    create(actor, Page(project=project, title="Plan", owner=actor.user))
    IdempotencyRecord.objects.create(user_id=actor.user.pk, key="k")
    factor = create(actor, SecondFactor(user=actor.user, salt="s"))
    RecoveryCode.objects.create(factor=factor, digest="d")
    create(actor, Invitation(email="nora@acme.example", expires_at=NOON))
    issue_mail_token(actor.tenant, MailPurpose.PASSWORD_RESET, user=actor.user)
    start_session(actor, user_agent="x")
    ClaimFactory(actor=actor, project=project, task=first)
    ViewFactory(actor=actor)
    NotificationPosition.lock("0", NOON)
    NotificationPreference.store(actor.user, {"digest": "daily"})
    Notification.objects.bulk_create([Notification(user=actor.user, kind="assigned", task=task)])
    ping(actor, create_webhook(actor, url="https://hooks.example/", project=project))


# ---- checks -------------------------------------------------------------------------------------

CHECKS = {
    "project_status_is_known": (Project, {"status": "gone"}),
    "project_key_is_upper_case": (Project, {"key": "apo"}),
    "project_has_a_name": (Project, {"name": ""}),
    "member_role_is_known": (ProjectMember, {"role": "king"}),
    "tag_has_a_name": (Tag, {"name": ""}),
    "task_status_is_known": (Task, {"status": "open"}),
    "task_priority_is_known": (Task, {"priority": "urgent"}),
    "task_has_a_title": (Task, {"title": ""}),
    "task_is_due_once": (Task, {"due_date": NOON, "due_on": date(2026, 1, 1)}),
    "task_is_due_in_readable_time": (Task, {"due_on": date(2200, 1, 1)}),
    "task_done_is_completed": (Task, {"status": "done", "outcome": "completed"}),
    "task_done_has_an_outcome": (Task, {"status": "done", "completed_at": NOON}),
    "task_outcome_is_known": (
        Task,
        {"status": "done", "completed_at": NOON, "outcome": "postponed"},
    ),
    "task_is_not_its_own_parent": (Task, {"parent": models.F("id")}),
    "task_does_not_block_itself": (TaskBlocker, {"blocker": models.F("task")}),
    "comment_says_something": (Comment, {"body": ""}),
    "page_has_a_title": (Page, {"title": ""}),
    "page_is_published_since": (Page, {"is_published": True}),
    "mail_token_purpose_is_known": (MailToken, {"purpose": "greeting"}),
    "view_has_a_name": (View, {"name": ""}),
    "view_layout_is_known": (View, {"layout": "table"}),
    "view_grouping_is_known": (View, {"group_by": "tag"}),
    "notification_kind_is_known": (Notification, {"kind": "rumour"}),
    "notification_digest_is_known": (NotificationPreference, {"digest": "hourly"}),
    "webhook_state_is_known": (Webhook, {"state": "lost"}),
    "webhook_pause_has_a_reason": (Webhook, {"state": "paused"}),
    "claim_ttl_is_allowed": (Claim, {"ttl_seconds": 4}),
    "claim_progress_is_percent": (Claim, {"progress": 101}),
    "claim_end_is_known": (Claim, {"end": "lost", "ended_at": NOON}),
    "claim_end_has_a_time": (Claim, {"end": "released"}),
    "delivery_state_is_known": (Delivery, {"state": "lost"}),
    "invitation_email_is_lower_case": (Invitation, {"email": "Nora@acme.example"}),
    "token_scope_is_known": (ApiToken, {"scope": "root"}),
    "event_via_is_known": (Event, {"via": "door"}),
    "user_kind_is_known": (User, {"kind": "cat"}),
    "user_human_has_email": (User, {"email": None}),
    "user_email_is_lower_case": (User, {"email": "A@acme.example"}),
    "user_handle_is_lower_case": (User, {"handle": "Ada"}),
    "user_handle_is_not_reserved": (User, {"handle": "me"}),
}
FURTHER_VALUES = [
    (Project, {"key": ""}),
    (Task, {"due_on": date(1969, 12, 31)}),
    (Task, {"due_date": datetime(1969, 12, 31, 23, tzinfo=UTC)}),
    (Task, {"due_date": datetime(2200, 1, 1, tzinfo=UTC)}),
    (Task, {"completed_at": NOON}),
    (Task, {"outcome": "cancelled"}),
    (Task, {"status": "in_progress", "completed_at": NOON}),
    (User, {"handle": ""}),
    (User, {"handle": "none"}),
    (Project, {"owner": None}),
    (Project, {"metadata": None}),
    (Task, {"project": None}),
    (Task, {"title": None}),
    (ProjectMember, {"user": None}),
    (Project, {"last_number": -1}),
    (Task, {"number": -1}),
    (Task, {"version": -1}),
    (Page, {"published_at": NOON}),
    (Page, {"owner": None}),
    (Comment, {"task": None}),
]


def test_every_check_constraint_has_a_case_here():
    names = {
        constraint.name
        for model in TENANT_MODELS
        for constraint in model._meta.constraints
        if isinstance(constraint, models.CheckConstraint)
    }

    assert names == CHECKS.keys()


@pytest.mark.parametrize(
    ("model", "values"),
    [*CHECKS.values(), *FURTHER_VALUES],
    ids=lambda v: v.__name__ if isinstance(v, type) else ",".join(v),
)
def test_a_value_that_breaks_a_check_is_refused(acme, model, values):
    pk = model.objects.earliest("pk").pk

    assert_refused(lambda: model.objects.filter(pk=pk).update(**values))


@pytest.mark.raw_sql
@pytest.mark.parametrize("text", ["1969-12-31", "2200-01-01", "0001-01-01", "9999-12-31"])
def test_a_due_day_outside_the_supported_years_is_refused(acme, text):
    def write():
        with connection.cursor() as cursor:
            cursor.execute("UPDATE tasks_task SET due_on = %s", [text])

    assert_refused(write)


@pytest.mark.parametrize("model", TENANT_MODELS)
def test_a_row_without_a_tenant_is_refused(acme, model):
    # On PostgreSQL the policy may refuse it before NOT NULL does, with another error.
    with pytest.raises(DatabaseError), transaction.atomic():
        models.QuerySet.update(model.objects.all(), tenant=None)


# ---- uniques ------------------------------------------------------------------------------------

UNIQUES = {
    "project_key_key": lambda w: Project(key="APO", name="x", owner=w.bob.user),
    "project_key_is_given_once": lambda w: ProjectKey(project=w.apollo, key="APO"),
    "tag_name_key": lambda w: Tag(name="URGENT"),
    "task_number_key": lambda w: Task(project=w.apollo, number=1, title="x"),
    "task_external_ref_key": lambda w: Task(
        project=w.apollo, number=99, title="x", external_ref="taken"
    ),
    "task_tag_key": lambda w: TaskTag(task=w.task, tag=Tag.objects.get()),
    "task_blocker_key": lambda w: TaskBlocker(
        task=w.task, blocker=TaskBlocker.objects.get().blocker
    ),
    "former_number_key": lambda w: FormerNumber(project=w.apollo, number=77, task=w.task),
    "user_handle_key": lambda w: User(handle="ada", email="x@acme.example"),
    "user_email_key": lambda w: User(handle="x", email="ada@acme.example"),
    "idempotency_record_key": lambda w: IdempotencyRecord(user_id=w.ada.user.pk, key="k"),
    "second_factor_user_key": lambda w: SecondFactor(user=w.ada.user, salt="t"),
    "recovery_code_key": lambda w: RecoveryCode(factor=SecondFactor.objects.get(), digest="d"),
    "mail_token_digest_key": lambda w: MailToken(
        purpose="invitation", digest=MailToken.objects.latest("pk").digest, expires_at=NOON
    ),
    "invitation_email_key": lambda w: Invitation(email="nora@acme.example", expires_at=NOON),
    "token_digest_key": lambda w: ApiToken(
        user=w.bob.user, name="x", digest=ApiToken.objects.latest("pk").digest
    ),
    "notification_preference_key": lambda w: NotificationPreference(user=w.ada.user),
    "notification_position_key": lambda w: NotificationPosition(cursor="0", overdue_until=NOON),
    "claim_open_key": lambda w: copy_claim(fence=2),
    "claim_fence_key": lambda w: copy_claim(end="released", ended_at=NOON),
    "unique_together": lambda w: ProjectMember(project=w.apollo, user=w.bob.user, role="admin"),
}


def copy_claim(**values):
    """A further claim of the claimed task, with these values."""
    row = Claim.objects.get()
    row.pk, row._state.adding = None, True
    for name, value in values.items():
        setattr(row, name, value)
    return row


def test_every_unique_rule_has_a_case_here():
    names = {
        constraint.name
        for model in TENANT_MODELS
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint)
    }
    together = [model for model in TENANT_MODELS if model._meta.unique_together]

    assert names | {"unique_together"} == UNIQUES.keys()
    assert together == [ProjectMember]


@pytest.mark.parametrize("name", UNIQUES)
def test_a_second_row_with_unique_values_is_refused(acme, name):
    Task.objects.filter(number=1).update(external_ref="taken")
    row = UNIQUES[name](acme)

    assert_refused(lambda: row.save(force_insert=True))


@pytest.mark.parametrize("name", ["project_key_key", "tag_name_key", "user_handle_key", "user_email_key"])  # fmt: skip
def test_two_tenants_may_use_the_same_unique_values(fixtures, name):
    rows = {
        "project_key_key": lambda w: Project(key="APO", name="x", owner=w.mallory.user),
        "tag_name_key": lambda w: Tag(name="urgent"),
        "user_handle_key": lambda w: User(handle="ada", email="x@x.example"),
        "user_email_key": lambda w: User(handle="x", email="ada@acme.example"),
    }
    with inside(fixtures.acme):
        create_tag(fixtures.ada, name="urgent")
    with inside(fixtures.globex):
        rows[name](fixtures).save(force_insert=True)


def test_several_tasks_without_an_external_ref_are_accepted(acme):
    create_task(acme.ada, acme.apollo, title="x")

    assert Task.objects.filter(external_ref=None).count() == 3


# ---- foreign keys -------------------------------------------------------------------------------


@pytest.fixture
def ids_of_globex(fixtures):
    """The id of a row of Globex, by model."""
    with inside(fixtures.globex):
        fill_tables(fixtures.mallory, fixtures.secret, fixtures.secret_task)
        return {model: model.objects.latest("pk").pk for model in TENANT_MODELS}


@pytest.mark.isolation
@pytest.mark.raw_sql
@pytest.mark.parametrize(("model", "name"), FOREIGN_KEYS)
def test_a_foreign_key_to_a_row_of_another_tenant_is_refused(ids_of_globex, acme, model, name):
    field = model._meta.get_field(name)
    pk = model.objects.earliest("pk").pk
    target = ids_of_globex[field.related_model]

    assert_refused(lambda: model.objects.filter(pk=pk).update(**{field.attname: target}))

    def write():
        with connection.cursor() as cursor:
            table, column = model._meta.db_table, field.column
            cursor.execute(f"UPDATE {table} SET {column} = %s WHERE id = %s", [target, pk])

    assert_refused(write)


@pytest.mark.raw_sql  # Django reads the row for SQLite's error message
@pytest.mark.parametrize(("model", "name"), FOREIGN_KEYS)
def test_a_foreign_key_to_a_missing_row_is_refused(acme, model, name):
    pk = model.objects.earliest("pk").pk

    assert_refused(lambda: model.objects.filter(pk=pk).update(**{f"{name}_id": 10**9}))


@pytest.mark.raw_sql
@pytest.mark.parametrize("table", ["tasks_project", "tasks_task", "tasks_tag"])
def test_deleting_a_row_deletes_the_rows_that_depend_on_it(acme, table):
    create_task(acme.ada, acme.apollo, title="below", parent=acme.task, tags=["urgent"])
    ProjectKey.objects.update(project=None)  # SQLite cannot do so: see CompositeFK
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE tenant_id = %s", [acme.acme.pk])
    connection.check_constraints()

    assert not TaskTag.objects.exists()
    assert Task.objects.exists() == (table == "tasks_tag")
    assert ProjectMember.objects.exists() == (table != "tasks_project")


@pytest.mark.raw_sql
def test_deleting_a_referenced_user_is_refused(acme):
    def delete():
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM accounts_user WHERE id = %s", [acme.ada.user.pk])

    assert_refused(delete)


def test_every_tenant_model_has_the_constraints_of_tenant_isolation():
    for model, name in FOREIGN_KEYS:
        fields = [c.field for c in model._meta.constraints if isinstance(c, CompositeFK)]
        assert name in fields
    for model in TENANT_MODELS:
        classes = {type(constraint) for constraint in model._meta.constraints}
        assert {RowSecurity, TenantPrimaryKey} <= classes
        plain = [
            f.name
            for f in model._meta.local_fields
            if f.is_relation and not isinstance(f, TenantFK) and f.name != "tenant"
        ]
        assert plain == []


# ---- tables -------------------------------------------------------------------------------------

COLUMNS = {
    "postgresql": "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
    " AND NOT attisdropped ORDER BY attnum",
    "sqlite": "SELECT name FROM pragma_table_info(%s) ORDER BY cid",
}
# The columns of each unique index, in their order; an expression is null.
UNIQUE_INDEXES = {
    "postgresql": "SELECT ARRAY(SELECT a.attname FROM unnest(i.indkey) WITH ORDINALITY k(n, o)"
    " LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.n ORDER BY k.o)"
    " FROM pg_index i WHERE i.indrelid = %s::regclass AND i.indisunique",
    "sqlite": "SELECT group_concat(c.name) FROM pragma_index_list(%s) i, pragma_index_info(i.name) c"
    ' WHERE i."unique" GROUP BY i.name',
}


def first_columns(table):
    """The first column of every unique index of the table."""
    rows = [columns for (columns,) in query(UNIQUE_INDEXES[connection.vendor], table)]
    return [(r.split(",") if isinstance(r, str) else r)[0] for r in rows]


@pytest.mark.django_db
@pytest.mark.parametrize("model", TENANT_MODELS)
def test_tenant_id_and_id_are_the_first_columns(model):
    columns = [name for (name,) in query(COLUMNS[connection.vendor], model._meta.db_table)]

    assert columns[:2] == ["tenant_id", "id"]


@pytest.mark.django_db
@pytest.mark.parametrize("model", TENANT_MODELS)
def test_every_unique_index_begins_with_the_tenant(model):
    assert set(first_columns(model._meta.db_table)) <= {"tenant_id"}


@on_postgres
@pytest.mark.django_db
@pytest.mark.parametrize("model", TENANT_MODELS)
def test_the_primary_key_is_the_only_key_of_tenant_and_id(model):
    keys = query(
        "SELECT contype::text, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = %s::regclass AND contype IN ('p', 'u')",
        model._meta.db_table,
    )

    assert ("p", "PRIMARY KEY (tenant_id, id)") in keys
    assert not [definition for kind, definition in keys if kind == "u" and "(id)" in definition]
    assert ("u", "UNIQUE (tenant_id, id)") not in keys


@on_postgres
@pytest.mark.django_db
def test_no_foreign_key_references_the_id_alone():
    tables = [model._meta.db_table for model in TENANT_MODELS]
    plain = query(
        "SELECT conrelid::regclass::text, conname FROM pg_constraint"
        " WHERE contype = 'f' AND array_length(confkey, 1) = 1 AND confrelid::regclass::text = ANY(%s)",
        tables,
    )

    assert plain == []


# ---- what Django generates for the composite key ------------------------------------------------


def test_rows_can_be_grouped_by_a_model(acme):
    grouped = Project.objects.annotate(n=models.Count("tasks")).values_list("key", "n")

    assert list(grouped) == [("APO", 2)]
    assert [p.n for p in Project.objects.annotate(n=models.Count("tasks"))] == [2]


def test_distinct_rows_of_a_join_can_be_selected(acme):
    rows = Project.objects.filter(tasks__isnull=False).distinct()

    assert [project.key for project in rows] == ["APO"]


def test_rows_can_be_locked_together_with_a_join(acme):
    rows = Task.objects.select_related("project").order_by("pk")

    assert len(rows.select_for_update(of=("self",), no_key=True)) == 2


def test_a_conflicting_row_can_be_updated_or_ignored(acme):
    key = {"unique_fields": ["tenant", "project", "number"]}

    def clash(title):
        return [Task(project=acme.apollo, number=acme.task.number, title=title)]

    Task.objects.bulk_create(clash("ignored"), ignore_conflicts=True)
    Task.objects.bulk_create(
        clash("updated"), update_conflicts=True, update_fields=["title"], **key
    )

    assert Task.objects.get(pk=acme.task.pk).title == "updated"


@on_postgres
@pytest.mark.django_db
def test_the_planner_has_statistics_of_tenant_and_foreign_keys():
    """Without them it collects and sorts a project's rows, though an index has them in order."""
    rows = query(
        "SELECT c.relname, array_agg(a.attname::text) FROM pg_statistic_ext s"
        " JOIN pg_class c ON c.oid = s.stxrelid"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (s.stxkeys)"
        " GROUP BY c.relname"
    )
    columns = {table: set(names) for table, names in rows}

    for model in TENANT_MODELS:
        keys = {f.column for f in model._meta.local_fields if isinstance(f, TenantFK)}
        if keys:
            assert columns[model._meta.db_table] >= keys | {"tenant_id"}
