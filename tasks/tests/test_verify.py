"""`manage.py verify` finds what differs from the event log, and nothing else."""

from __future__ import annotations

import io
import re

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F

from accounts.models import User
from taskflow.audit import replay
from taskflow.audit.models import Event
from taskflow.tenancy import OWNER_ROLE, has_roles, inside
from taskflow.tests.concurrency import held_open
from tasks.actions.claims import request_cancellation
from tasks.actions.offboarding import offboard_user
from tasks.actions.projects import create_project, delete_project
from tasks.actions.tags import delete_tag
from tasks.actions.trash import purge
from tasks.actions.undo.undoing import undo
from tasks.changes.tasks import complete_task, create_task, delete_task, update_task
from tasks.management.commands.verify import MAX_REPORTED, find_faults
from tasks.models import (
    Comment,
    Project,
    ProjectKey,
    ProjectMember,
    Tag,
    Task,
    TaskCountDelta,
    TaskTag,
)
from tasks.tests.exports import build_unusual_tenant
from tasks.tests.factories import ClaimFactory

# The faults are written by statements that no code of the product contains.
pytestmark = [pytest.mark.django_db, pytest.mark.raw_sql]


def verify(**options):
    """Run the command. Return what it prints, with the error in the last line."""
    output = io.StringIO()
    try:
        call_command("verify", stdout=output, **options)
    except CommandError as error:
        return output.getvalue() + str(error)
    return output.getvalue()


def execute(sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def create_with_tag(fixtures):
    return create_task(fixtures.ada, fixtures.apollo, title="Tagged", tags=["red"])


def change_a_column(fixtures):
    Task.objects.filter(pk=fixtures.task.pk).update(priority="high")
    return f"task {fixtures.task.pk}, priority: The row has 'high', its events end with 'medium'."


def fill_an_empty_column(fixtures):
    Task.objects.filter(pk=fixtures.task.pk).update(external_ref="r-1")
    return f"task {fixtures.task.pk}, external_ref: The row has 'r-1', its events end with None."


def change_a_column_of_a_user(fixtures):
    User.objects.filter(pk=fixtures.bob.user.pk).update(is_staff=True)
    return f"user {fixtures.bob.user.pk}, is_staff: The row has True, its events end with False."


def change_a_recorded_outcome(fixtures):
    complete_task(fixtures.ada, fixtures.task)
    Task.objects.filter(pk=fixtures.task.pk).update(outcome="cancelled")
    return f"task {fixtures.task.pk}, outcome: The row has 'cancelled', its events end with"


def change_a_version(fixtures):
    Task.objects.filter(pk=fixtures.task.pk).update(version=F("version") + 1)
    return f"task {fixtures.task.pk}, version: The row has 2, its events end with 1."


def lose_a_row(fixtures):
    row = ProjectMember.objects.get(user=fixtures.bob.user)
    pk = row.pk
    row.delete()
    return f"membership {pk}: The row is missing, and no event deletes it."


def add_a_row(fixtures):
    row = Comment.objects.create(task=fixtures.task, author=fixtures.ada.user, body="planted")
    return f"comment {row.pk}: The row has no events."


def lose_an_event(fixtures):
    update_task(fixtures.ada, fixtures.task, title="Second")
    update_task(fixtures.ada, fixtures.task, title="Third")
    Event.objects.filter(subject_id=fixtures.task.pk, version=2).delete()
    return "title: Event {} changes 'Second'; the events before it end with 'Launch'.".format(
        Event.objects.latest("pk").pk
    )


def bring_a_deleted_row_back(fixtures):
    task = create_with_tag(fixtures)
    tag = task.tags.get()
    delete_tag(fixtures.boss, tag)
    Tag.objects.bulk_create([Tag(pk=tag.pk, name="red")])
    return f"tag {tag.pk}: The row exists, but event {Event.objects.latest('pk').pk} deletes it."


def add_a_link(fixtures):
    task = create_with_tag(fixtures)
    TaskTag.objects.create(task=fixtures.task, tag=task.tags.get())
    return f"task {fixtures.task.pk}, tags: The row has [{task.tags.get().pk}], its events end with"


def lose_a_link(fixtures):
    task = create_with_tag(fixtures)
    pk = task.tags.get().pk
    TaskTag.objects.all().delete()
    return f"task {task.pk}, tags: The row has [], its events end with [{pk}]."


def change_a_count(fixtures):
    TaskCountDelta.objects.create(project_id=fixtures.apollo.pk, todo=2)
    return f"project {fixtures.apollo.pk}, todo: The stored count is wrong by +2."


def change_a_computed_column(fixtures):
    Project.objects.filter(pk=fixtures.apollo.pk).update(name_folded="zzz")
    return f"project {fixtures.apollo.pk}, name_folded: The value is not the one of its text."


def lose_a_key(fixtures):
    ProjectKey.objects.filter(key="APO").delete()
    return f"project {fixtures.apollo.pk}, key: No stored key finds the project by APO."


def break_a_foreign_key(fixtures):
    if connection.vendor == "postgresql":
        execute("SET CONSTRAINTS ALL IMMEDIATE")
        drop_foreign_key("tasks_task", "assignee_id")
    Task.objects.filter(pk=fixtures.task.pk).update(assignee=987654)
    return f"task {fixtures.task.pk}, assignee: There is no row 987654."


def drop_foreign_key(table, column):
    with connection.cursor() as cursor:
        if has_roles(connection):
            cursor.execute(f"SET LOCAL ROLE {OWNER_ROLE}")
        cursor.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_tenant_fk")
        if has_roles(connection):
            cursor.execute("SET LOCAL ROLE taskflow_app")


FAULTS = [
    change_a_column,
    fill_an_empty_column,
    change_a_column_of_a_user,
    change_a_recorded_outcome,
    change_a_version,
    lose_a_row,
    add_a_row,
    lose_an_event,
    bring_a_deleted_row_back,
    add_a_link,
    lose_a_link,
    change_a_count,
    change_a_computed_column,
    lose_a_key,
    break_a_foreign_key,
]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
@pytest.mark.slow
def test_planted_fault_is_reported_with_its_row_and_field(fixtures, plant):
    with transaction.atomic():  # so that SQLite does not check the foreign keys
        with inside(fixtures.acme):
            sentence = plant(fixtures)
        output = verify()
        transaction.set_rollback(True)

    assert sentence in output
    assert re.search(r"globex: checked \d+ rows, 0 values are wrong", output)
    assert re.search(r"\d+ values are wrong\.$", output)


@pytest.mark.slow
def test_tenant_of_every_kind_of_change_has_no_faults(db):
    fixtures = build_unusual_tenant()
    with inside(fixtures.acme):
        tagged = create_with_tag(fixtures)
        update_task(fixtures.ada, fixtures.task, blocked_by=[tagged])
        delete_tag(fixtures.boss, tagged.tags.get())
        undo(fixtures.boss, [Event.objects.latest("pk")])
        update_task(fixtures.ada, tagged, tags=[])
        delete_task(fixtures.ada, tagged)
        purge(fixtures.ada, Task.everything.get(pk=tagged.pk))
        update_task(fixtures.ada, fixtures.task, description="later")
        offboard_user(fixtures.boss, fixtures.ada.user, fixtures.carl.user)

    assert verify().splitlines()[-1] == "All values are right."


def test_long_log_is_read_in_parts(fixtures, monkeypatch):
    monkeypatch.setattr(replay, "CHUNK", 2)
    with inside(fixtures.acme):
        tasks = [create_task(fixtures.ada, fixtures.apollo, title=f"T{n}") for n in range(5)]
        for task in tasks[1::2]:
            for priority in ("high", "low", "high"):
                update_task(fixtures.ada, task, priority=priority)
        assert list(find_faults()) == []
        Task.objects.filter(pk__in=[tasks[0].pk, tasks[3].pk]).update(priority="low")

        assert [fault.partition(":")[0] for fault in find_faults()] == [
            f"task {tasks[0].pk}, priority", f"task {tasks[3].pk}, priority",
        ]  # fmt: skip


def test_erased_values_and_credentials_of_an_import_are_no_faults(fixtures):
    with inside(fixtures.acme):
        event = Event.objects.filter(subject_type="task", verb="created").latest("pk")
        event.changes |= {"title": ["…", "…"]}
        event.save()

        assert list(find_faults()) == []


def test_versions_without_a_changed_column_are_no_faults(fixtures):
    """A request to stop a worker changes the claim, not the task."""
    with inside(fixtures.acme):
        claim = ClaimFactory(actor=fixtures.ada, project=fixtures.apollo)
        request_cancellation(fixtures.ada, claim)
        update_task(fixtures.ada, Task.objects.get(pk=claim.task_id), title="Other")

        assert list(find_faults()) == []


def test_permanently_deleted_project_has_no_faults(fixtures):
    """Its deletion records the last number of its tasks, which no event before has changed."""
    with inside(fixtures.acme):
        project = create_project(fixtures.ada, name="Gone")
        create_task(fixtures.ada, project, title="x")
        delete_project(fixtures.ada, project)
        purge(fixtures.ada, Project.everything.get(pk=project.pk))

        assert list(find_faults()) == []


def test_many_faults_are_counted_but_not_all_listed(fixtures):
    with inside(fixtures.acme):
        for _ in range(MAX_REPORTED + 5):
            Comment.objects.create(task=fixtures.task, author=fixtures.ada.user, body="planted")

    output = verify(tenant="acme")

    assert output.count("has no events") == MAX_REPORTED
    assert "acme: 5 more values are wrong." in output
    assert output.endswith(f"{MAX_REPORTED + 5} values are wrong.")


def test_unknown_tenant_is_refused(fixtures):
    assert verify(tenant="nobody") == "There is no tenant “nobody”."


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL's constraints refuse it")
def test_rows_of_no_tenant_are_reported(fixtures):
    with transaction.atomic():
        with inside(fixtures.acme):
            ProjectKey.objects.bulk_create([ProjectKey(key="LOST")])
        execute("UPDATE tasks_projectkey SET tenant_id = 999 WHERE key = 'LOST'")
        output = verify()
        transaction.set_rollback(True)

    assert "1 rows of tasks_projectkey belong to no tenant." in output


@pytest.mark.django_db(transaction=True)
def test_verifying_waits_for_no_writer(fixtures):
    def write():
        create_task(fixtures.ada, fixtures.apollo, title="not committed yet")

    with held_open(fixtures.acme, write):
        assert verify().splitlines()[-1] == "All values are right."
