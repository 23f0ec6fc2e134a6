"""What the database itself refuses, whoever writes: on both databases, past every action."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from django.apps import apps
from django.db import DatabaseError, IntegrityError, connection, models, transaction

from accounts.actions.tokens import issue_token
from accounts.models import ApiToken, IdempotencyRecord, User
from taskflow.audit.actor import TokenScope
from taskflow.audit.models import Event
from taskflow.audit.recorder import create
from taskflow.tenancy import CompositeFK, RowSecurity, TenantFK, TenantKey, inside, is_tenant_model
from tasks.actions.tags import create_tag
from tasks.changes.tasks import create_task, update_task
from tasks.models import (
    Comment,
    FormerNumber,
    Page,
    Project,
    ProjectMember,
    Tag,
    Task,
    TaskBlocker,
    TaskTag,
)

TENANT_MODELS = [model for model in apps.get_models() if is_tenant_model(model)]
FOREIGN_KEYS = [
    (model, field.name)
    for model in TENANT_MODELS
    for field in model._meta.local_fields
    if isinstance(field, TenantFK)
]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def refused(act):
    """Whether the database refuses it, at the latest when the transaction would be committed."""
    with pytest.raises(IntegrityError), transaction.atomic():
        act()
        connection.check_constraints()


@pytest.fixture
def acme(world):
    """Acme with a row in every table, its scope open."""
    with inside(world.acme):
        fill(world.ada, world.apollo, world.task)
        yield world


def fill(actor, project, task):
    """Put a row into every table that has none yet."""
    issue_token(actor, actor.user, "test", TokenScope.READ, None)
    update_task(actor, task, tags=["urgent"])
    first = create_task(actor, project, title="first")
    TaskBlocker.objects.create(task=task, blocker=first)
    FormerNumber.objects.create(project=project, number=77, task=task)
    create(actor, Comment(task=task, author=actor.user, body="so"))
    create(actor, Page(project=project, title="Plan", owner=actor.user))
    IdempotencyRecord.objects.create(user_id=actor.user.pk, key="k")


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
    "task_done_is_completed": (Task, {"status": "done"}),
    "task_is_not_its_own_parent": (Task, {"parent": models.F("id")}),
    "task_does_not_block_itself": (TaskBlocker, {"blocker": models.F("task")}),
    "comment_says_something": (Comment, {"body": ""}),
    "page_has_a_title": (Page, {"title": ""}),
    "page_is_published_since": (Page, {"is_published": True}),
    "token_scope_is_known": (ApiToken, {"scope": "root"}),
    "event_via_is_known": (Event, {"via": "door"}),
    "user_kind_is_known": (User, {"kind": "cat"}),
    "user_human_has_email": (User, {"email": None}),
    "user_email_is_lower_case": (User, {"email": "A@acme.example"}),
    "user_handle_is_lower_case": (User, {"handle": "Ada"}),
    "user_handle_is_not_reserved": (User, {"handle": "me"}),
}
MORE = [
    (Project, {"key": ""}),
    (Task, {"due_on": date(1969, 12, 31)}),
    (Task, {"due_date": datetime(1969, 12, 31, 23, tzinfo=UTC)}),
    (Task, {"due_date": datetime(2200, 1, 1, tzinfo=UTC)}),
    (Task, {"completed_at": NOON}),
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


def test_every_check_is_tried_here():
    known = {
        constraint.name
        for model in TENANT_MODELS
        for constraint in model._meta.constraints
        if isinstance(constraint, models.CheckConstraint)
    }

    assert known == CHECKS.keys()


@pytest.mark.parametrize(
    ("model", "values"),
    [*CHECKS.values(), *MORE],
    ids=lambda v: v.__name__ if isinstance(v, type) else ",".join(v),
)
def test_a_bad_value_is_refused(acme, model, values):
    one = model.objects.earliest("pk").pk

    refused(lambda: model.objects.filter(pk=one).update(**values))


@pytest.mark.raw_sql
@pytest.mark.parametrize("text", ["1969-12-31", "2200-01-01", "0001-01-01", "9999-12-31"])
def test_a_day_that_python_might_not_read_is_refused(acme, text):
    def write():
        with connection.cursor() as cursor:
            cursor.execute("UPDATE tasks_task SET due_on = %s", [text])

    refused(write)


@pytest.mark.parametrize("model", TENANT_MODELS)
def test_a_row_without_a_tenant_is_refused(acme, model):
    with (
        pytest.raises(DatabaseError),
        transaction.atomic(),
    ):  # on PostgreSQL its policy may be first
        models.QuerySet.update(model.objects.all(), tenant=None)


# ---- uniques ------------------------------------------------------------------------------------

UNIQUES = {
    "project_key_key": lambda w: Project(key="APO", name="x", owner=w.bob.user),
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
    "token_digest_key": lambda w: ApiToken(
        user=w.bob.user, name="x", digest=ApiToken.objects.latest("pk").digest
    ),
    "unique_together": lambda w: ProjectMember(project=w.apollo, user=w.bob.user, role="admin"),
}


def test_every_unique_rule_is_tried_here():
    known = {
        constraint.name
        for model in TENANT_MODELS
        for constraint in model._meta.constraints
        if isinstance(constraint, models.UniqueConstraint) and not isinstance(constraint, TenantKey)
    }
    together = [model for model in TENANT_MODELS if model._meta.unique_together]

    assert known | {"unique_together"} == UNIQUES.keys()
    assert together == [ProjectMember]


@pytest.mark.parametrize("name", UNIQUES)
def test_a_second_one_is_refused(acme, name):
    Task.objects.filter(number=1).update(external_ref="taken")
    row = UNIQUES[name](acme)

    refused(lambda: row.save(force_insert=True))


@pytest.mark.parametrize("name", ["project_key_key", "tag_name_key", "user_handle_key", "user_email_key"])  # fmt: skip
def test_what_is_unique_is_so_in_its_tenant_only(world, name):
    rows = {
        "project_key_key": lambda w: Project(key="APO", name="x", owner=w.mallory.user),
        "tag_name_key": lambda w: Tag(name="urgent"),
        "user_handle_key": lambda w: User(handle="ada", email="x@x.example"),
        "user_email_key": lambda w: User(handle="x", email="ada@acme.example"),
    }
    with inside(world.acme):
        create_tag(world.ada, name="urgent")
    with inside(world.globex):
        rows[name](world).save(force_insert=True)


def test_many_tasks_may_have_no_external_ref(acme):
    create_task(acme.ada, acme.apollo, title="x")

    assert Task.objects.filter(external_ref=None).count() == 3


# ---- foreign keys -------------------------------------------------------------------------------


@pytest.fixture
def theirs(world):
    """Ids of Globex's rows, by model."""
    with inside(world.globex):
        fill(world.mallory, world.secret, world.secret_task)
        return {model: model.objects.latest("pk").pk for model in TENANT_MODELS}


@pytest.mark.wall
@pytest.mark.raw_sql
@pytest.mark.parametrize(("model", "name"), FOREIGN_KEYS)
def test_a_row_cannot_point_at_another_tenants(theirs, acme, model, name):
    field = model._meta.get_field(name)
    one = model.objects.earliest("pk").pk
    target = theirs[field.related_model]

    refused(lambda: model.objects.filter(pk=one).update(**{field.attname: target}))

    def write():
        with connection.cursor() as cursor:
            table, column = model._meta.db_table, field.column
            cursor.execute(f"UPDATE {table} SET {column} = %s WHERE id = %s", [target, one])

    refused(write)


@pytest.mark.raw_sql  # SQLite's own look-up of the row it complains about
@pytest.mark.parametrize(("model", "name"), FOREIGN_KEYS)
def test_a_row_cannot_point_at_nothing(acme, model, name):
    one = model.objects.earliest("pk").pk

    refused(lambda: model.objects.filter(pk=one).update(**{f"{name}_id": 10**9}))


@pytest.mark.raw_sql
@pytest.mark.parametrize(
    ("table", "what"),
    [("tasks_project", "tasks and memberships"), ("tasks_task", "links"), ("tasks_tag", "links")],
)
def test_what_hangs_on_a_row_goes_with_it(acme, table, what):
    create_task(acme.ada, acme.apollo, title="below", parent=acme.task, tags=["urgent"])
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {table} WHERE tenant_id = %s", [acme.acme.pk])
    connection.check_constraints()

    assert not TaskTag.objects.exists()
    assert Task.objects.exists() == (table == "tasks_tag")
    assert ProjectMember.objects.exists() == (table != "tasks_project")


@pytest.mark.raw_sql
def test_a_user_whom_something_points_at_stays(acme):
    def delete():
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM accounts_user WHERE id = %s", [acme.ada.user.pk])

    refused(delete)


def test_every_foreign_key_and_table_has_its_guard():
    for model, name in FOREIGN_KEYS:
        guards = [c.field for c in model._meta.constraints if isinstance(c, CompositeFK)]
        assert name in guards
    for model in TENANT_MODELS:
        assert any(isinstance(c, RowSecurity) for c in model._meta.constraints)
        plain = [
            f.name
            for f in model._meta.local_fields
            if f.is_relation and not isinstance(f, TenantFK) and f.name != "tenant"
        ]
        assert plain == []


@pytest.mark.django_db
@pytest.mark.skipif("connection.vendor != 'postgresql'")
def test_the_planner_knows_that_keys_know_their_tenant():
    """Or a list of a project is collected and sorted, though an index has it in order."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname, array_agg(a.attname::text) FROM pg_statistic_ext s"
            " JOIN pg_class c ON c.oid = s.stxrelid"
            " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (s.stxkeys)"
            " GROUP BY c.relname"
        )
        known = {table: set(columns) for table, columns in cursor.fetchall()}

    for model in TENANT_MODELS:
        keys = {f.column for f in model._meta.local_fields if isinstance(f, TenantFK)}
        if keys:
            assert known[model._meta.db_table] >= keys | {"tenant_id"}
