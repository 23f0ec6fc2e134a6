"""The page of the trash in the admin, and the messages after deletions."""

from __future__ import annotations

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conftest import sign_in_browser
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment, delete_comment
from tasks.actions.projects import create_project, delete_project
from tasks.changes.tasks import complete_task, create_task, delete_task
from tasks.models import Task

pytestmark = pytest.mark.one_database

TRASH = "/admin/trash/"


@pytest.fixture
def deleted(fixtures):
    """A task with a subtask, a comment and a project, deleted in this order by ada."""
    with inside(fixtures.acme):
        parent = create_task(fixtures.ada, fixtures.apollo, title="<Parent>")
        create_task(fixtures.ada, fixtures.apollo, title="Child", parent=parent)
        comment = create_comment(fixtures.ada, fixtures.task, body="A remark")
        project = create_project(fixtures.ada, name="Other", key="OTH")
        delete_task(fixtures.ada, parent)
        delete_comment(fixtures.ada, comment)
        delete_project(fixtures.ada, project)
    return parent


def message_of(response):
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def restore(browser, kind, row):
    return browser.post(f"{TRASH}{kind}/{row.pk}/restore/")


def test_page_shows_who_deleted_what_and_until_when(fixtures, browser, deleted):
    r = browser.get(TRASH)

    lines = r.context["lines"]
    assert [(line.label, line.name) for line in lines] == [
        ("project", "OTH Other"),
        ("comment", "A remark"),
        ("task", f"{deleted.key} <Parent>"),
    ]
    assert {line.deleted_by for line in lines} == {str(fixtures.ada.user)}
    assert all((line.purge_after - line.deleted_at).days == 30 for line in lines)
    assert b"&lt;Parent&gt;" in r.content


def test_row_is_restored_with_what_was_deleted_with_it(fixtures, browser, deleted):
    r = restore(browser, "task", deleted)

    assert (r.status_code, r["Location"]) == (302, TRASH)
    message = message_of(r)
    assert f"/admin/tasks/task/{deleted.pk}/change/" in message
    assert f'value="{r["X-Request-Id"]}"' in message
    with inside(fixtures.acme):
        assert Task.objects.filter(title__in=["<Parent>", "Child"]).count() == 2


def test_refused_restoration_shows_the_reason_in_words(fixtures, browser):
    with inside(fixtures.acme):
        parent = create_task(fixtures.ada, fixtures.apollo, title="Parent")
        child = create_task(fixtures.ada, fixtures.apollo, title="Child", parent=parent)
        delete_task(fixtures.ada, child)
        complete_task(fixtures.ada, parent)

    message = message_of(restore(browser, "task", child))

    assert message == f"The parent, {parent.key}, is done. Reopen it first."
    assert "trash" in message_of(restore(browser, "task", fixtures.task)), "it is not deleted"


def test_trash_of_others_is_neither_shown_nor_restored(fixtures, browser):
    with inside(fixtures.globex):
        delete_task(fixtures.mallory, fixtures.secret_task)

    assert browser.get(TRASH).context["lines"] == []
    assert "no such task" in message_of(restore(browser, "task", fixtures.secret_task))


def test_address_of_the_trash_is_read_strictly(fixtures, browser, deleted):
    assert len(browser.get(f"{TRASH}?kind=task").context["lines"]) == 1
    first = browser.get(f"{TRASH}?limit=2")
    assert len(first.context["lines"]) == 2
    second = browser.get(TRASH + first.context["next_address"])
    assert [line.label for line in second.context["lines"]] == ["task"]
    for query in ("?kind=tag", "?nonsense=1", "?cursor=x"):
        r = browser.get(TRASH + query)
        assert (r.status_code, bool(message_of(r))) == (302, True)


def test_only_a_post_restores(fixtures, browser, deleted):
    assert browser.get(f"{TRASH}task/{deleted.pk}/restore/").status_code == 404
    assert browser.post(f"{TRASH}user/1/restore/").status_code == 404


def test_number_of_statements_does_not_depend_on_the_rows(fixtures, browser, deleted):
    counts = []
    for limit in (1, 1, 3):
        with CaptureQueriesContext(connection) as captured:
            browser.get(f"{TRASH}?limit={limit}")
        counts.append(len(captured))

    assert counts[1] == counts[2]


def test_messages_after_deletions_speak_of_the_trash_and_offer_undo(fixtures, browser):
    with inside(fixtures.acme):
        tasks = [create_task(fixtures.ada, fixtures.apollo, title=f"t{n}") for n in range(3)]
    one = browser.post(f"/admin/tasks/task/{tasks[0].pk}/delete/", {"post": "yes"})
    chosen = {"_selected_action": [task.pk for task in tasks[1:]]}
    many = browser.post("/admin/tasks/task/", {"action": "delete_selected", "post": "yes"} | chosen)

    for response, sentence in ((one, "t0” is in the trash"), (many, "2 rows are in the trash")):
        message = message_of(response)
        assert sentence in message
        assert f'value="{response["X-Request-Id"]}"' in message
        assert "success" not in message


def test_member_who_is_no_administrator_sees_and_restores_what_the_role_allows(
    fixtures, client, deleted
):
    client.defaults["SERVER_NAME"] = "acme.localhost"
    with inside(fixtures.acme):
        sign_in_browser(client, fixtures.bob.user)

    lines = client.get(TRASH).context["lines"]
    assert [line.kind for line in lines] == ["comment", "task"], "no member of the project Other"
    assert "is restored" in message_of(restore(client, "task", deleted))
    with inside(fixtures.acme):
        sign_in_browser(client, fixtures.eve.user)
    assert client.get(TRASH).context["lines"] == []
    assert client.get("/admin/").status_code == 200
