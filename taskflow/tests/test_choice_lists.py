"""No page of the admin has a list of choices that grows with the rows of a tenant.

Every page is asked for in a tenant with MANY rows of each type, so that a new list is found by
itself. The pages of forms are as light as in a small tenant, and cost as many statements.
"""

from __future__ import annotations

import re
from string import ascii_uppercase

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import URLResolver, get_resolver

from accounts.models import User
from conftest import sign_in_browser
from taskflow.audit.recorder import create_all
from taskflow.tenancy import inside
from tasks.models import Page, Project, ProjectMember, Tag, Task, View, Webhook

pytestmark = pytest.mark.one_database

MANY = 250
MAX_OPTIONS = 200
MAX_BYTES = 60 * 1024
MAX_GROWTH = 4 * 1024  # there are more kinds of events to filter by; MANY options are 10 KiB
BULK = "/admin/tasks/task/bulk/"
SELECT = re.compile(r"<select\b[^>]*>.*?</select>", re.S)
PANEL = {"headers": {"HX-Target": "filter-panel"}}
# Pages with fields that choose a row.
FORMS = (
    "/admin/audit/event/undo/", "/admin/import/", "/admin/accounts/user/new-agent/",
    "/admin/accounts/user/{ada}/offboarding/", "/admin/tasks/task/{task}/move/",
    "/admin/tasks/task/add/", "/admin/tasks/project/add/", "/admin/tasks/projectmember/add/",
    "/admin/tasks/invitation/add/", "/admin/tasks/webhook/add/", "/admin/tasks/page/add/",
    "/admin/accounts/apitoken/add/", "/admin/accounts/user/add/",
)  # fmt: skip


def create_many(fixtures):
    """Create MANY users, projects, members, tasks, tags and webhooks. A few statements each."""
    boss, apollo = fixtures.boss, fixtures.apollo
    keys = [f"Q{a}{b}" for a in ascii_uppercase for b in ascii_uppercase][:MANY]
    users = [User(handle=f"u{n}", email=f"u{n}@acme.example", password="!") for n in range(MANY)]
    create_all(boss, users)
    projects = [Project(key=key, name=f"Project {key}", owner=boss.user) for key in keys]
    create_all(boss, projects)
    create_all(boss, [ProjectMember(project=apollo, user=user) for user in users], "joined")
    create_all(boss, [Tag(name=f"tag {n}") for n in range(MANY)])
    create_all(
        boss,
        [
            Task(
                project=apollo, number=1000 + n, title=f"Task {n}", assignee=user,
                created_by=boss.user, parent=fixtures.task,
            )
            for n, user in enumerate(users)
        ],
    )  # fmt: skip
    create_all(
        boss, [Page(project=apollo, title=f"Page {n}", owner=boss.user) for n in range(MANY)]
    )
    views = [View(name=f"View {n}", owner=boss.user, where={"q": "x"}) for n in range(MANY)]
    create_all(boss, views)
    urls = [f"https://hooks.example/{n}" for n in range(MANY)]
    create_all(boss, [Webhook(url=url, owner=boss.user, salt=url) for url in urls])


@pytest.fixture
def large_tenant(fixtures):
    with inside(fixtures.acme):
        create_many(fixtures)


def walk(resolver, prefix="/"):
    """Yield (route, view) of each URL of the admin that has at most one parameter."""
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from walk(entry, route)
        elif route.startswith("/admin/") and "^" not in route and "(" not in route:
            yield route, entry.callback


def addresses(fixtures):
    """Return the address of each page, with the id of a row where it is about one."""
    found = []
    with inside(fixtures.acme):
        for route, view in walk(get_resolver()):
            owner = getattr(view, "model_admin", None)
            if "<" not in route:
                found.append(route)
            elif owner is not None and (row := owner.model.objects.order_by("pk").first()):
                found.append(re.sub(r"<[^>]*>", str(row.pk), route))
    return found


def count_options(response):
    return [
        (select.count("<option"), select[:120])
        for select in SELECT.findall(response.content.decode())
    ]


@pytest.mark.slow
def test_no_page_has_a_list_that_grows_with_the_tenant(fixtures, browser, large_tenant):
    too_long, with_select = [], set()
    for address in addresses(fixtures):
        pages = [browser.get(address), browser.get(address, **PANEL)]
        if address == BULK:
            pages.append(browser.post(BULK, {}))
        for page in pages:
            if page.status_code != 200 or "html" not in page["Content-Type"]:
                continue
            lists = count_options(page)
            with_select |= {address} if lists else set()
            too_long += [(address, *found) for found in lists if found[0] > MAX_OPTIONS]

    assert too_long == [], "offer the rows with RowChoiceField or AutocompleteSelectFilter"
    assert len(with_select) > 30


def measure(browser, address, *, method="get", **kwargs):
    """Return the number of statements of a page, and its size in bytes."""
    getattr(browser, method)(address, **kwargs)  # what is cached once
    with CaptureQueriesContext(connection) as captured:
        response = getattr(browser, method)(address, **kwargs)
    assert response.status_code == 200, address
    return len(captured), len(response.content)


@pytest.mark.slow
def test_pages_of_forms_cost_the_same_in_a_large_tenant(fixtures, browser):
    ids = {"ada": fixtures.ada.user.pk, "task": fixtures.task.pk}
    bulk = {"method": "post", "data": {"_selected_action": [fixtures.task.pk]}}
    pages = {address.format(**ids): {} for address in FORMS}
    pages |= {"/admin/tasks/delivery/": PANEL, "/admin/audit/event/": PANEL, BULK: bulk}

    before = {address: measure(browser, address, **sent) for address, sent in pages.items()}
    with inside(fixtures.acme):
        create_many(fixtures)
    after = {address: measure(browser, address, **sent) for address, sent in pages.items()}

    assert {a: n for a, (n, _size) in after.items() if n > before[a][0]} == {}
    larger = {a: size for a, (_n, size) in after.items() if size > before[a][1] + MAX_GROWTH}
    assert larger == {}
    heavy = {a: size for a, (_n, size) in after.items() if size > MAX_BYTES}
    assert heavy.keys() <= {"/admin/tasks/project/add/"}  # 75 KiB, with three rows for members


def test_field_offers_exactly_the_rows_that_it_accepts(fixtures, browser):
    """The archived project is not among those into which tasks can be moved."""
    with inside(fixtures.acme):
        old = Project(key="OLD", name="Old", owner=fixtures.boss.user, status="archived")
        create_all(fixtures.boss, [old])

    def offered(**query):
        source = {"app_label": "tasks", "model_name": "task", "field_name": "project"}
        r = browser.get("/admin/autocomplete/", source | query)
        return {row["id"] for row in r.json()["results"]}

    assert offered() - offered(among="unarchived_projects") == {str(old.pk)}
    assert str(fixtures.apollo.pk) in offered(among="unarchived_projects", term="apo")
    move = browser.post(f"/admin/tasks/task/{fixtures.task.pk}/move/", {"project": old.pk})
    assert "Choose a value of the list." in move.content.decode()


@pytest.mark.parametrize("among", ["nothing", "people", "½"])
def test_unknown_set_of_choices_is_not_found(fixtures, browser, among):
    source = {"app_label": "tasks", "model_name": "task", "field_name": "project"}

    assert browser.get("/admin/autocomplete/", source | {"among": among}).status_code == 404


def test_field_offers_a_member_only_the_projects_in_which_tasks_can_be_created(fixtures, client):
    client.defaults["SERVER_NAME"] = "acme.localhost"
    with inside(fixtures.acme):
        other = Project(key="OTH", name="Other", owner=fixtures.boss.user)
        create_all(fixtures.boss, [other])
        sign_in_browser(client, fixtures.bob.user)
    source = {"app_label": "tasks", "model_name": "task", "field_name": "project"}

    r = client.get("/admin/autocomplete/", source | {"among": "writable_projects"})

    assert [row["id"] for row in r.json()["results"]] == [str(fixtures.apollo.pk)]
