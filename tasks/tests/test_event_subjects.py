"""The list of events and the plan of an undo name rows by key and title, with a link."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.admin.subjects import Subject, find_subjects
from tasks.changes.tasks import create_task, delete_task, update_task
from tasks.tests.test_task_page import client, rows

pytestmark = pytest.mark.one_database
__all__ = ["client", "rows"]
UNDO = "/admin/audit/event/undo/"
EVENTS = "/admin/audit/event/"


def page_of(task):
    return f"/admin/tasks/task/{task.pk}/change/"


def test_list_of_events_names_and_links_the_rows(rows, client):
    with inside(rows.root.tenant):
        create_comment(rows.ada, rows.task, body="x")

    page = client.get(EVENTS).content.decode()

    assert f'href="{page_of(rows.task)}">WEB-1 Pack &lt;flag&gt;</a>' in page
    assert f'href="/admin/tasks/task/{rows.task.pk}/comments/">WEB-1 Pack' in page
    assert "WEB Website" in page


def test_more_events_cost_no_more_queries(rows, client):
    def count():
        with CaptureQueriesContext(connection) as queries:
            client.get(EVENTS)
        return len(queries)

    few = count()
    with inside(rows.root.tenant):
        for number in range(20):
            update_task(
                rows.ada, create_task(rows.ada, rows.web, title=f"{number}"), priority="low"
            )

    assert count() == few


def test_plan_of_an_undo_names_and_links_the_rows(rows, client):
    with inside(rows.root.tenant):
        update_task(rows.ada, rows.task, priority="high")
        event = Event.objects.get(verb="changed")

    page = client.post(UNDO, {"event_ids": event.pk})

    assert "would be undone" in page.content.decode()
    assert f'href="{page_of(rows.task)}">WEB-1 Pack &lt;flag&gt;</a>' in page.content.decode()


def test_conflict_of_an_undo_names_the_row(rows, client):
    with inside(rows.root.tenant):
        update_task(rows.root, rows.task, priority="high")
        update_task(rows.ada, rows.task, priority="low")

    page = client.post(UNDO, {"actor": rows.root.user.pk, "since": "2020-01-01 00:00"})

    assert "cannot be undone" in page.content.decode()
    assert f'href="{page_of(rows.task)}">WEB-1 Pack &lt;flag&gt;</a>' in page.content.decode()


def test_row_in_the_trash_has_a_name_and_no_link(rows):
    with inside(rows.root.tenant):
        delete_task(rows.ada, rows.task)

        found = find_subjects(rows.ada, [("task", rows.task.pk)])

    assert found == {("task", rows.task.pk): Subject("WEB-1 Pack <flag>", None)}


@pytest.mark.isolation
def test_rows_that_the_user_cannot_see_have_no_name(rows):
    keys = [("task", rows.plot.pk), ("task", 10**9), ("nothing", 1)]
    with inside(rows.root.tenant):
        assert find_subjects(rows.ada, keys) == {}
