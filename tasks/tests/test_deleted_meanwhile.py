"""Saving a form whose row went to the trash after it was opened."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.changes.tasks import create_task, delete_task, update_task
from tasks.models import Page, Project, Task
from tasks.tests.test_admin import address, admin_fixtures, form_of, sign_in

pytestmark = pytest.mark.one_database
__all__ = ["admin_fixtures"]


@pytest.fixture
def client(admin_fixtures):
    return sign_in("root@acme.example")


@pytest.fixture
def opened(admin_fixtures, client):
    """The form of the task, which Ada deletes afterwards."""
    form = form_of(client.get(address(Task, "change", admin_fixtures.task.pk)))
    with inside(admin_fixtures.root.tenant):
        delete_task(admin_fixtures.ada, admin_fixtures.task)
    return form | {"title": "Mine"}


def stored(fixtures):
    with inside(fixtures.root.tenant):
        task = Task.everything.get(pk=fixtures.task.pk)
        return task.title, task.deleted_at is None


def save(fixtures, client, form):
    return client.post(address(Task, "change", fixtures.task.pk), form)


def test_page_says_who_deleted_it_and_keeps_the_input(admin_fixtures, client, opened):
    page = save(admin_fixtures, client, opened)

    text = page.content.decode()
    assert page.status_code == 409
    assert "moved “Launch” to the trash at" in text
    assert "Ada" in text or "ada" in text
    assert '<input type="hidden" name="title" value="Mine">' in text
    assert stored(admin_fixtures) == ("Launch", False)


def test_row_is_restored_and_the_edit_is_saved(admin_fixtures, client, opened):
    page = save(admin_fixtures, client, opened)
    form = {}
    for name, value in page.context["fields"]:
        form.setdefault(name, []).append(value)

    r = save(admin_fixtures, client, form | {"_restore": "1"})

    assert r.status_code == 302
    assert stored(admin_fixtures) == ("Mine", True)
    assert [e.verb for e in admin_fixtures.events()] == ["restored", "changed"]


@pytest.mark.slow
def test_refused_edit_leaves_the_row_in_the_trash(admin_fixtures, client, opened):
    r = save(admin_fixtures, client, opened | {"title": "", "_restore": "1"})

    assert r.status_code == 200
    assert stored(admin_fixtures) == ("Launch", False)


@pytest.mark.slow
def test_edit_that_conflicts_with_one_before_the_deletion_is_shown(admin_fixtures, client):
    form = form_of(client.get(address(Task, "change", admin_fixtures.task.pk)))
    with inside(admin_fixtures.root.tenant):
        update_task(admin_fixtures.ada, admin_fixtures.task, title="Theirs")
        delete_task(admin_fixtures.ada, admin_fixtures.task)

    r = save(admin_fixtures, client, form | {"title": "Mine", "_restore": "1"})

    assert r.status_code == 412
    assert stored(admin_fixtures) == ("Theirs", False)
    form = {}
    for name, value in r.context["fields"]:
        form.setdefault(name, []).append(value)
    assert save(admin_fixtures, client, form).status_code == 302
    assert stored(admin_fixtures) == ("Mine", True)


@pytest.mark.slow
def test_refused_restoration_is_explained(admin_fixtures, client):
    with inside(admin_fixtures.root.tenant):
        parent = create_task(admin_fixtures.ada, admin_fixtures.apollo, title="Parent")
        update_task(admin_fixtures.ada, admin_fixtures.task, parent=parent)
    form = form_of(client.get(address(Task, "change", admin_fixtures.task.pk)))
    with inside(admin_fixtures.root.tenant):
        delete_task(admin_fixtures.ada, admin_fixtures.task)
        delete_task(admin_fixtures.ada, parent)

    r = save(admin_fixtures, client, form | {"_restore": "1"})

    assert r.status_code == 409
    assert 'role="alert"' in r.content.decode()
    assert stored(admin_fixtures) == ("Launch", False)


@pytest.mark.parametrize("model", [Project, Page])
@pytest.mark.slow
def test_other_rows_can_be_restored_and_saved_too(admin_fixtures, client, model):
    row = admin_fixtures.apollo if model is Project else admin_fixtures.page
    form = form_of(client.get(address(model, "change", row.pk)))
    client.post(address(model, "delete", row.pk), {"post": "yes"})
    name = "name" if model is Project else "title"

    assert client.post(address(model, "change", row.pk), form).status_code == 409
    r = client.post(address(model, "change", row.pk), form | {name: "Mine", "_restore": "1"})

    assert r.status_code == 302
    with inside(admin_fixtures.root.tenant):
        assert getattr(model.objects.get(pk=row.pk), name) == "Mine"


@pytest.mark.isolation
def test_deleted_row_of_another_tenant_is_not_shown(admin_fixtures, client):
    with inside(admin_fixtures.them.tenant):
        delete_task(admin_fixtures.them, admin_fixtures.plot)

    r = client.post(address(Task, "change", admin_fixtures.plot.pk), {"title": "x"})

    assert r.status_code == 404
    assert "Plot" not in r.content.decode()
