"""Admin objects are shared by all threads, so no request may leave anything on them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.contrib import admin

from accounts.actions.tenants import create_operator
from accounts.models import ApiToken, Tenant, User
from conftest import PASSWORD
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.models import Page, Project, Task
from tasks.tests.test_admin import MODELS, UNDO, AdminFixtures, address, form_of, sign_in

pytestmark = pytest.mark.one_database

OUR_PACKAGES = ("accounts", "tasks", "taskflow")


@pytest.fixture
def admin_fixtures(db):
    return AdminFixtures()


def plain(value):
    """Return the value with copies of the lists, dicts and sets in it, to compare it later."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return set(value) if isinstance(value, set) else value


def shared_state():
    """Return the attributes of every registered ModelAdmin, and of its class and inline classes."""
    objects = list(admin.site._registry.values())
    for model_admin in list(objects):
        for shared in (type(model_admin), *model_admin.inlines, model_admin.form):
            objects += [c for c in shared.__mro__ if c.__module__.startswith(OUR_PACKAGES)]
    return {(str(o), name): plain(value) for o in objects for name, value in vars(o).items()}


def visit_pages(client, tenant):
    for model in MODELS:
        with inside(tenant):
            row = tenant if model is Tenant else model.objects.first()
        for view in ("list", "add", "change", "history", "delete"):
            client.get(address(model, view, row.pk))
        client.get(address(model, "list") + "?q=a")
        page = client.get(address(model, "change", row.pk))
        if model not in (ApiToken, Event):
            saved = client.post(address(model, "change", row.pk), form_of(page))
            assert saved.status_code == 302, model


def send_forms(client, admin_fixtures):
    task = address(Task, "change", admin_fixtures.task.pk)
    form = form_of(client.get(task))
    assert client.post(task, form | {"title": "Lift off"}).status_code == 302
    assert client.post(task, form | {"title": "Another"}).status_code == 412
    assert client.post(task, form | {"title": ""}).status_code == 200
    page = address(User, "change", admin_fixtures.ada.user.pk).replace("change/", "offboarding/")
    assert client.get(page).status_code == 200
    assert client.post(page, {"hand_over_to": "x"}).status_code == 200
    assert client.post(UNDO, {"request_id": "unknown"}).status_code == 200
    for model, action in ((Task, "complete"), (Project, "download_tasks"), (Page, "publish"),
                          (Tenant, "work_here"), (User, "activate"), (ApiToken, "revoke")):  # fmt: skip
        with inside(admin_fixtures.root.tenant):
            pk = admin_fixtures.root.tenant.pk if model is Tenant else model.objects.first().pk
        client.post(address(model, "list"), {"action": action, "_selected_action": [pk]})


@pytest.mark.slow
def test_requests_leave_nothing_on_shared_admin_objects(admin_fixtures):
    create_operator(email="op@x.example", full_name="Op", password=PASSWORD)
    before = shared_state()

    staff = sign_in("root@acme.example")
    visit_pages(staff, admin_fixtures.root.tenant)
    send_forms(staff, admin_fixtures)
    staff.get(address(Task, "list") + "?trash=1")
    sign_in("mallory@globex.example", "globex.localhost").get(address(Tenant, "list"))
    operator = sign_in("op@x.example", "platform.localhost")
    operator.get(address(Tenant, "list"))

    after = shared_state()
    changed = [name for name in after if name not in before or after[name] != before[name]]
    assert changed == []


def test_tenant_list_marks_the_tenant_of_its_own_request(admin_fixtures):
    """Another request begins between the query of the list and its rendering."""
    staff = sign_in("root@acme.example")
    tenant_admin = admin.site._registry[Tenant]
    original = tenant_admin.get_list_display

    def interrupted(request):
        columns = original(request)
        original(SimpleNamespace(actor=admin_fixtures.them, user=admin_fixtures.them.user))
        return columns

    tenant_admin.get_list_display = interrupted
    try:
        page = staff.get(address(Tenant, "list")).content.decode()
    finally:
        del tenant_admin.get_list_display

    assert "current tenant" in page
