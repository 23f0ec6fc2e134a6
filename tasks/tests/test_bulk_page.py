"""The page of the admin that changes many tasks: its form, its preview, the changes and undo."""

from __future__ import annotations

import re

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conftest import sign_in_browser
from taskflow.tenancy import inside
from tasks.actions.members import add_member
from tasks.actions.projects import create_project
from tasks.admin.addresses import list_address
from tasks.admin.bulk import page as bulk_page
from tasks.admin.bulk import running
from tasks.changes.create import CreateTask, create_tasks
from tasks.changes.tasks import create_task
from tasks.models import Task

pytestmark = pytest.mark.one_database

BULK = "/admin/tasks/task/bulk/"
UNDO = "/admin/audit/event/undo/"


@pytest.fixture
def tasks(fixtures):
    with inside(fixtures.acme):
        return [
            create_task(fixtures.ada, fixtures.apollo, title=f"t{n} <b>", priority="high")
            for n in range(3)
        ]


def ids_of(tasks):
    return ",".join(str(task.pk) for task in tasks)


def send(browser, tasks, step, address=BULK, **fields):
    return browser.post(address, {"ids": ids_of(tasks), step: "1"} | fields)


def message_of(response):
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def stored(fixtures, tasks):
    with inside(fixtures.acme):
        rows = Task.everything.filter(pk__in=[task.pk for task in tasks])
        return list(rows.select_related("project").order_by("pk"))


def test_selected_tasks_of_the_list_are_shown_on_the_page(fixtures, browser, tasks):
    r = browser.post(BULK, {"_selected_action": [task.pk for task in tasks[:2]]})

    assert r.context["ids"] == ids_of(tasks[:2])
    assert b"t0 &lt;b&gt;" in r.content
    assert "Change 2 tasks" in r.content.decode()


def test_without_a_selection_all_tasks_of_the_list_are_meant(fixtures, browser, tasks):
    address = list_address(priority="high").replace("/task/", "/task/bulk/")

    for data in ({}, {"select_across": "1", "_selected_action": [tasks[0].pk]}):
        assert browser.post(address, data).context["ids"] == ids_of(tasks)
    assert browser.post(BULK + "?priority__exact=high", {}).context["ids"] == ids_of(tasks)
    assert browser.post(BULK + "?q=t1", {}).context["ids"] == ids_of(tasks[1:2])


@pytest.mark.parametrize(
    "query", ["where=colour%3Dred", "nonsense=1", "priority__exact=huge", "e=1&nonsense=1"]
)
def test_list_that_cannot_be_read_is_refused(fixtures, browser, tasks, query):
    r = browser.post(f"{BULK}?{query}", {})

    assert r.status_code in (302, 400)
    assert "ids" not in (r.context or {})


def test_preview_shows_what_changes_and_changes_nothing(fixtures, browser, tasks):
    r = send(browser, tasks, "preview", priority="low", add_tags="Hot, cold")

    text = r.content.decode()
    assert "3 tasks would change." in text
    assert "priority: High → Low" in text
    assert "Hot" in text
    assert {task.priority for task in stored(fixtures, tasks)} == {"high"}


def test_form_keeps_what_was_chosen_when_the_preview_is_left(fixtures, browser, tasks):
    r = send(browser, tasks, "edit", priority="low", add_tags="hot", force="False")

    form = r.context["form"]
    chosen = {name: form[name].value() for name in ("priority", "add_tags", "force")}
    assert chosen == {"priority": "low", "add_tags": "hot", "force": False}
    assert not r.context["preview"]
    after_deletion = browser.post(BULK, {"ids": ids_of(tasks), "delete": "1", "edit": "1"})
    assert not after_deletion.context["form"].is_bound


@pytest.mark.slow
def test_changes_are_made_in_one_request_that_can_be_undone(fixtures, browser, tasks, events):
    address = f"{BULK}?priority__exact=high"

    r = send(
        browser, tasks, "make", address, priority="low", assignee=fixtures.bob.user.pk,
        status="in_progress", due_on="2026-12-01", add_tags="hot",
    )  # fmt: skip

    assert r.status_code == 302
    assert r["Location"] == "/admin/tasks/task/?priority__exact=high"
    message = message_of(r)
    assert "3 tasks are changed." in message
    assert f'value="{r["X-Request-Id"]}"' in message
    rows = stored(fixtures, tasks)
    assert {(t.priority, t.assignee_id, t.status) for t in rows} == {
        ("low", fixtures.bob.user.pk, "in_progress")
    }
    recorded = events(fixtures.acme, request_id=r["X-Request-Id"])
    assert {event.via for event in recorded} == {"admin"}
    plan = browser.post(UNDO, {"request_id": r["X-Request-Id"], "since": ""})
    assert plan.context["plan"]["entries"]
    browser.post(UNDO, {"request_id": r["X-Request-Id"], "since": "", "confirmed": "1"})
    assert {task.priority for task in stored(fixtures, tasks)} == {"high"}


def test_tasks_are_assigned_to_a_user_or_to_nobody(fixtures, browser, tasks):
    ada = fixtures.ada.user.pk
    both = send(browser, tasks, "preview", assignee=ada, remove_assignee="on")
    send(browser, tasks, "make", assignee=ada)
    assigned = {task.assignee_id for task in stored(fixtures, tasks)}
    send(browser, tasks, "make", remove_assignee="on")

    assert "Choose a user, or nobody, not both." in both.content.decode()
    assert assigned == {ada}
    assert {task.assignee_id for task in stored(fixtures, tasks)} == {None}


def test_user_who_cannot_see_a_task_is_refused_with_the_reason(fixtures, browser, tasks):
    r = send(browser, tasks, "preview", assignee=fixtures.eve.user.pk)

    text = r.content.decode()
    assert "3 are refused." in text
    assert "is not a member of" in text


def test_refused_tasks_are_named_with_the_reason_and_can_be_left_out(fixtures, browser, tasks):
    with inside(fixtures.acme):
        child = create_task(fixtures.ada, fixtures.apollo, title="child", parent=tasks[0])

    shown = send(browser, tasks, "preview", status="done", priority="low")

    text = shown.content.decode()
    assert "2 tasks would change." in text
    assert "1 is refused." in text
    assert "Do the 2 possible ones" in text
    assert f"/admin/tasks/task/{child.pk}/change/" in text
    assert "force" not in re.sub(r'<input[^>]*name="force"[^>]*>|id_force', "", text)
    refused = send(browser, tasks, "make", status="done", priority="low", make="all")
    assert refused.status_code == 200
    assert {task.status for task in stored(fixtures, tasks)} == {"todo"}
    done = send(browser, tasks, "make", status="done", priority="low", make="possible")
    assert "2 tasks are changed. 1 was left out." in message_of(done)
    statuses = [(task.status, task.priority) for task in stored(fixtures, tasks)]
    assert statuses == [("todo", "high"), ("done", "low"), ("done", "low")]


def test_parent_of_a_refused_task_is_refused_too(fixtures, browser, tasks):
    with inside(fixtures.acme):
        child = create_task(
            fixtures.ada, fixtures.apollo, title="child", parent=tasks[0], blocked_by=[tasks[2]]
        )

    r = send(browser, [tasks[0], child, tasks[1]], "make", status="done", make="possible")

    assert "1 task is changed. 2 were left out." in message_of(r)


def test_deletion_counts_before_and_can_be_undone(fixtures, browser, tasks):
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="child", parent=tasks[0])

    text = send(browser, tasks, "delete").content.decode()
    assert "4 tasks would go to the trash" in text
    assert "Move 4 tasks to the trash" in text
    r = browser.post(BULK, {"ids": ids_of(tasks), "delete": "1", "make": "all"})

    assert "4 tasks are in the trash." in message_of(r)
    assert all(task.deleted_at for task in stored(fixtures, tasks))


def test_tasks_are_moved_and_assigned_to_a_member_of_the_new_project(fixtures, browser, tasks):
    """The assignee is a member of the new project alone."""
    with inside(fixtures.acme):
        other = create_project(fixtures.ada, name="Other", key="OTH")
        add_member(fixtures.ada, other, user=fixtures.eve.user)

    r = send(browser, tasks, "make", project=other.pk, assignee=fixtures.eve.user.pk)

    assert "3 tasks are changed." in message_of(r)
    rows = stored(fixtures, tasks)
    assert {(t.project.key, t.assignee_id) for t in rows} == {("OTH", fixtures.eve.user.pk)}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "Choose at least one change."),
        ({"force": "on"}, "Choose at least one change."),
        ({"priority": "huge"}, "Choose a value of the list."),
        ({"due_on": "soon"}, "Enter a day that exists"),
        ({"due_on": "2026-12-01", "remove_due": "on"}, "not both"),
        ({"assignee": "999999"}, "Choose a value of the list."),
        ({"assignee": "½"}, "Choose a value of the list."),
        ({"due_on": "1900-01-01"}, "1970"),
        ({"add_tags": "x" * 101}, "100 characters"),
        ({"project": "999999"}, "Choose a value of the list."),
        ({"project": "½"}, "Choose a value of the list."),
    ],
)
def test_form_that_cannot_be_done_says_what_to_correct(fixtures, browser, tasks, fields, sentence):
    for step in ("preview", "make"):
        r = send(browser, tasks, step, **fields)
        assert (r.status_code, sentence in r.content.decode()) == (200, True), r.content.decode()
    assert {task.priority for task in stored(fixtures, tasks)} == {"high"}


def test_more_tasks_than_the_limit_are_refused_with_a_sentence(
    fixtures, browser, tasks, monkeypatch
):
    monkeypatch.setattr(bulk_page, "MAX_TASKS", 2)

    for data in ({}, {"ids": ids_of(tasks)}, {"_selected_action": [t.pk for t in tasks]}):
        r = browser.post(BULK, data)
        assert (r.status_code, "At most 2 tasks" in message_of(r)) == (302, True)


@pytest.mark.slow
def test_all_tasks_of_a_long_list_are_changed_at_once_and_undone(fixtures, browser):
    with inside(fixtures.acme):
        many = [{"project": fixtures.apollo, "title": f"n{n}"} for n in range(515)]
        create_tasks(fixtures.ada, [CreateTask.build(values) for values in many])

    r = browser.post(BULK, {"make": "all", "priority": "high"})

    assert (r.status_code, "516 tasks are changed." in message_of(r)) == (302, True)
    with inside(fixtures.acme):
        assert Task.objects.filter(priority="high").count() == 516
    form = {"request_id": r["X-Request-Id"], "since": "", "confirmed": "1"}
    assert browser.post(UNDO, form).status_code == 302
    with inside(fixtures.acme):
        assert Task.objects.filter(priority="high").count() == 0


def test_more_changes_than_one_undo_takes_back_are_refused(fixtures, browser, tasks, monkeypatch):
    monkeypatch.setattr(running, "MAX_EVENTS", 2)

    r = send(browser, tasks, "make", priority="low")

    assert "one undo takes back at most 2" in r.content.decode()
    assert {task.priority for task in stored(fixtures, tasks)} == {"high"}


@pytest.mark.parametrize("ids", ["x", "1,½", "-1", "1 2", str(10**30)])
def test_text_that_is_no_id_is_refused(fixtures, browser, tasks, ids):
    r = browser.post(BULK, {"ids": ids, "preview": "1", "priority": "low"})

    assert (r.status_code, "does not exist" in message_of(r)) == (302, True)


def test_tasks_of_others_are_neither_shown_nor_changed(fixtures, browser, tasks):
    r = browser.post(BULK, {"ids": str(fixtures.secret_task.pk), "delete": "1", "make": "possible"})
    assert "There are no tasks to change." in message_of(r)
    r = send(browser, [tasks[0], fixtures.secret_task], "make", priority="low")

    assert "1 task is changed." in message_of(r)
    text = browser.get(BULK).content.decode()
    for hidden in ("mallory", "Secret"):
        assert hidden not in text


def test_number_of_statements_does_not_depend_on_the_number_of_tasks(fixtures, browser, tasks):
    counts = []
    for count in (1, 1, 3):
        with CaptureQueriesContext(connection) as captured:
            send(browser, tasks[:count], "preview", priority="low", add_tags="a", status="done")
        counts.append(len(captured))

    assert counts[1] == counts[2]


def test_member_who_is_no_administrator_changes_the_tasks_of_the_own_projects(
    fixtures, client, tasks
):
    client.defaults["SERVER_NAME"] = "acme.localhost"
    with inside(fixtures.acme):
        other = create_project(fixtures.ada, name="Other", key="OTH")
        hidden = create_task(fixtures.ada, other, title="hidden")
        sign_in_browser(client, fixtures.bob.user)

    listed = client.post(BULK, {})
    assert str(hidden.pk) not in listed.context["ids"].split(",")
    assert "OTH" not in listed.content.decode()
    r = send(client, [*tasks, hidden], "make", assignee=fixtures.bob.user.pk)
    assert "3 tasks are changed." in message_of(r)
    with inside(fixtures.acme):
        sign_in_browser(client, fixtures.eve.user)
    r = send(client, tasks, "make", priority="low")
    assert "There are no tasks to change." in message_of(r)
