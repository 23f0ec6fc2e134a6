"""Lists of the admin accept only the query parameters that their filters offer."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import models
from django.test import Client, RequestFactory
from django.urls import reverse

from accounts.actions.tokens import issue_token
from accounts.actions.users import create_user
from accounts.models import Tenant, User
from conftest import PASSWORD, new_tenant
from taskflow.admin.site import ModelAdmin
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.models import Event
from taskflow.tenancy import inside, is_tenant_model
from tasks.actions.comments import create_comment
from tasks.actions.members import add_member
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project
from tasks.actions.webhooks import create_webhook
from tasks.changes.tasks import create_task

pytestmark = pytest.mark.one_database

SECRETS = {"password", "digest", "salt", "former_salt"}
SECRET_NAMES = re.compile(r"password|digest(?!ed_on)|salt|secret|hash|entropy")
LOOKUPS = ["", "__exact", "__startswith", "__gt", "__regex", "__isnull", "__in", "__contains"]


@pytest.fixture
def root(db: None) -> Actor:
    root = new_tenant("acme", "root", PASSWORD)
    with inside(root.tenant):
        other = create_user(root, email="ada@acme.example", password=PASSWORD)
        project = create_project(root, name="Apollo", key="APO")
        add_member(root, project, user=other)
        task = create_task(root, project, title="Launch", tags=["hot"], assignee=other)
        create_comment(root, task, body="Ready?")
        create_page(root, project, title="Plan")
        for _ in range(2):
            create_webhook(root, url="https://hooks.example/")
        for user in (root.user, other):
            issue_token(root, user, "ci", TokenScope.READ, None)
    return root


@pytest.fixture
def staff_client(root: Actor) -> Client:
    client = Client(SERVER_NAME="acme.localhost", raise_request_exception=False)
    client.post("/admin/login/", {"username": root.user.email, "password": PASSWORD})
    return client


@pytest.fixture
def request_of_staff(root: Actor) -> Any:
    request = RequestFactory().get("/admin/")
    request.actor, request.user = root, root.user  # type: ignore[attr-defined]
    return request


def changelist(model: type[models.Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def names_of(model: Any) -> set[str]:
    """Return the names of columns and relations that a lookup can contain."""
    fields = model._meta.get_fields(include_hidden=True)
    return {"pk"} | {name for f in fields for name in (f.name, getattr(f, "attname", f.name))}


def paths_of(model: Any) -> set[str]:
    """Return the lookup paths of the model's columns, and of columns one relation away."""
    related = {f.name: f.related_model for f in model._meta.get_fields() if f.related_model}
    return names_of(model) | {
        f"{name}__{column}" for name, other in related.items() for column in names_of(other)
    }


def offered_by(model_admin: Any, request: Any) -> set[str]:
    """Return the query parameters that the filters of the list read."""
    view = model_admin.get_changelist_instance(request)
    return {name for spec in view.filter_specs for name in spec.expected_parameters() if name}


REGISTERED = sorted(admin.site._registry, key=lambda model: model.__name__)


def test_only_tables_of_tenants_are_registered():
    """Rows of a table without a tenant would be visible to the staff of every tenant."""
    assert {m for m in REGISTERED if not is_tenant_model(m)} == {Tenant}
    assert all(isinstance(one, ModelAdmin) for one in admin.site._registry.values())


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_only_parameters_that_a_filter_offers_are_allowed(root, request_of_staff, model):
    model_admin = admin.site._registry[model]
    with inside(root.tenant):
        offered = offered_by(model_admin, request_of_staff)
        allowed = {
            path + lookup
            for path in paths_of(model)
            for lookup in LOOKUPS
            if model_admin.lookup_allowed(path + lookup, "1", request_of_staff)
        }

    listed = {name.rpartition("__")[0] for name in offered} | offered
    assert allowed <= {name + lookup for name in listed for lookup in ("", "__exact", "__isnull")}
    assert not {path for path in allowed if SECRETS & set(path.split("__"))}


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_every_parameter_that_a_filter_offers_is_allowed(root, request_of_staff, model):
    model_admin = admin.site._registry[model]
    with inside(root.tenant):
        offered = offered_by(model_admin, request_of_staff)
        refused = [
            name for name in offered if not model_admin.lookup_allowed(name, "1", request_of_staff)
        ]

    assert not refused


def secret_paths() -> list[tuple[type[models.Model], str]]:
    return [
        (model, path)
        for model in REGISTERED
        for path in sorted(paths_of(model))
        if path.split("__")[-1] in SECRETS
    ]


def test_lookups_of_the_test_include_secret_columns_and_relations():
    listed_paths = {(model.__name__, path) for model, path in secret_paths()}

    assert {
        ("User", "password"),
        ("User", "responsible__password"),
        ("User", "tokens__digest"),
        ("ApiToken", "digest"),
        ("ApiToken", "user__password"),
        ("Project", "owner__password"),
        ("Task", "assignee__password"),
        ("Event", "actor__password"),
    } <= listed_paths


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("model", "path"), secret_paths(), ids=lambda value: getattr(value, "__name__", value)
)
@pytest.mark.slow
def test_a_secret_column_cannot_filter_a_list(staff_client, model, path):
    for lookup in ("__regex", "__startswith", "__gt", ""):
        for method in (staff_client.get, staff_client.post):
            r = method(f"{changelist(model)}?{path}{lookup}=a")
            assert r.status_code == 400, (path + lookup, method)
            assert b"Traceback" not in r.content


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_secret_column_cannot_be_searched(root, staff_client, model):
    model_admin = admin.site._registry[model]

    with inside(root.tenant):
        searched = list(model_admin.get_search_fields(None))
        secrets = [user.password for user in User.objects.all() if user.has_usable_password()]

    assert not SECRETS & {part for path in searched for part in path.split("__")}
    page = f"{changelist(model)}?q={secrets[0][:20]}"
    assert staff_client.get(page).context["cl"].result_count == 0


@pytest.mark.sampled(3)
@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
@pytest.mark.slow
def test_list_can_be_sorted_by_its_own_columns_only(root, staff_client, request_of_staff, model):
    """The parameter `o` contains positions of columns. Other values are ignored."""
    model_admin = admin.site._registry[model]
    columns = model_admin.list_display
    with inside(root.tenant):
        view = model_admin.get_changelist_instance(request_of_staff)
        orders = {str(view.get_ordering_field(name)) for name in columns}
    usual = [row.pk for row in staff_client.get(changelist(model)).context["cl"].result_list]

    assert not SECRETS & {part for order in orders for part in order.split("__")}
    for order in ("password", "99", "-99", "digest.-password"):
        r = staff_client.get(f"{changelist(model)}?o={order}")
        assert sorted(row.pk for row in r.context["cl"].result_list) == sorted(usual)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
@pytest.mark.slow
def test_popup_refers_to_rows_by_id_only(root, staff_client, model):
    columns = {f.attname for f in model._meta.concrete_fields} - {"id"}

    for name in sorted(columns):
        r = staff_client.get(f"{changelist(model)}?_popup=1&_to_field={name}")
        assert r.status_code == 400, name
    for path in (f"{root.user.pk}/change/", "add/"):
        assert staff_client.get(f"{changelist(User)}{path}?_to_field=password").status_code == 400
    assert staff_client.get(f"{changelist(model)}?_popup=1&_to_field=id").status_code == 200


def random_lookup(model: Any, chance: random.Random) -> str:
    """Return a lookup across one to four relations, to a column, with transforms."""
    names: list[str] = []
    for _ in range(chance.randint(1, 4)):
        related = {f.name: f.related_model for f in model._meta.get_fields() if f.related_model}
        if related and chance.random() < 0.8:
            name = chance.choice(sorted(related))
            names.append(name)
            model = related[name]
    column = chance.choice(sorted(names_of(model)))
    transform = chance.choice(["", "__lower", "__length", "__date", "__year", "__0"])
    return "__".join([*names, column]) + transform + chance.choice(LOOKUPS)


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_generated_lookups_across_relations_are_refused(root, request_of_staff, model):
    model_admin, chance = admin.site._registry[model], random.Random(model.__name__)
    with inside(root.tenant):
        offered = offered_by(model_admin, request_of_staff)
        listed = {name.rpartition("__")[0] for name in offered} | offered
        known = {name + lookup for name in listed for lookup in ("", "__exact", "__isnull")}
        lookups = {random_lookup(model, chance) for _ in range(2_000)}
        allowed = {one for one in lookups if model_admin.lookup_allowed(one, "1", request_of_staff)}

    assert len(lookups) > 300
    assert allowed <= known
    assert not {one for one in allowed if SECRETS & set(one.split("__"))}


def test_every_secret_column_is_known_to_these_tests():
    columns = {
        field.name
        for model in apps.get_models()
        if is_tenant_model(model)
        for field in model._meta.concrete_fields
        if SECRET_NAMES.search(field.name)
    }

    assert columns == SECRETS


@pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)
def test_hierarchy_of_dates_is_of_no_secret_column(model):
    assert admin.site._registry[model].date_hierarchy not in SECRETS


def test_action_on_a_filtered_list_is_refused_with_the_filter(root, staff_client):
    """With `select_across` it would change every row that the filter finds."""
    with inside(root.tenant):
        other = User.objects.get(handle="ada").pk
    body = {"action": "deactivate", "_selected_action": [other], "select_across": "1"}

    r = staff_client.post(f"{changelist(User)}?password__startswith=s", body)

    assert r.status_code == 400
    with inside(root.tenant):
        assert User.objects.get(pk=other).is_active


def relations() -> list[tuple[type[models.Model], str]]:
    return [
        (model, field.name)
        for model in sorted(apps.get_models(), key=lambda model: model.__name__)
        if is_tenant_model(model)
        for field in model._meta.concrete_fields
        if field.remote_field
    ]


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    ("model", "field"), relations(), ids=lambda value: getattr(value, "__name__", value)
)
@pytest.mark.slow
def test_autocompletion_of_any_relation_shows_no_secret_and_no_other_tenant(
    root, staff_client, model, field
):
    other = new_tenant("globex", "mallory", PASSWORD)
    with inside(root.tenant):
        secret = User.objects.get(pk=root.user.pk).password
    page = (
        f"/admin/autocomplete/?app_label={model._meta.app_label}"
        f"&model_name={model._meta.model_name}&field_name={field}&term="
    )

    for term in ("", secret[:20], "mallory", other.tenant.name):
        r = staff_client.get(page + term)
        assert r.status_code in (200, 403, 404), r.content
        assert "mallory" not in r.content.decode()
        assert secret not in r.content.decode()
        if r.status_code == 200 and model._meta.get_field(field).related_model is Tenant:
            assert {one["id"] for one in r.json()["results"]} <= {str(root.tenant.pk)}


@pytest.mark.parametrize("parameter", ["password__regex", "user__password__regex", "digest__gt"])
def test_autocompletion_ignores_lookups(root, staff_client, parameter):
    page = "/admin/autocomplete/?app_label=accounts&model_name=apitoken&field_name=user&term="
    usual = staff_client.get(page).json()

    assert len(usual["results"]) == 2
    assert staff_client.get(f"{page}&{parameter}=a").json() == usual


def test_history_ignores_lookups_and_error_page_refuses_them(root, staff_client):
    history = f"{changelist(User)}{root.user.pk}/history/"
    plain = staff_client.get(history).context["entries"]

    filtered = staff_client.get(f"{history}?password__regex=nothing").context["entries"]

    assert [e.event.pk for e in filtered] == [e.event.pk for e in plain]
    assert staff_client.get(f"{changelist(User)}?e=1&password__regex=a").status_code == 400


def test_sidebar_search_for_a_secret_finds_no_rows(root, staff_client):
    with inside(root.tenant):
        password = User.objects.get(pk=root.user.pk).password

    for extended in ("", "&extended=1"):
        r = staff_client.get(f"/admin/search/?s={password[:12]}{extended}")
        assert root.user.email.encode() not in r.content


def test_offered_filters_and_links_restrict_a_list(root, staff_client):
    def listed(page: str) -> list[Any]:
        r = staff_client.get(page)
        assert r.status_code == 200, page
        return list(r.context["cl"].result_list)

    assert len(listed(f"{changelist(User)}?is_staff__exact=1")) == 1
    assert len(listed(f"{changelist(User)}?kind__exact=agent")) == 0
    assert len(listed(f"/admin/tasks/task/?assignee__id__exact={root.user.pk}")) == 0
    assert len(listed("/admin/tasks/task/?trash=1")) == 0
    with inside(root.tenant):
        created = Event.objects.filter(verb="created").count()
    assert len(listed(f"{changelist(Event)}?verb=created")) == created
