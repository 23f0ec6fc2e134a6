"""Every operation, sent by every actor with ids that the actor may not see.

The response to a foreign id equals the response to an absent one, byte for byte but for the request
id and the id itself, and no text of a foreign row appears in any response. Foreign are the rows of
another tenant, and those of a project of the own tenant in which the actor is not a member.
ISOLATION_SHARE=1 sends all requests (`make isolation-matrix`); by default it is 23, one case of 23.
"""

from __future__ import annotations

import os
import re
from collections import Counter

import pytest

from accounts.actions.tokens import create_token
from accounts.actions.users import create_user
from accounts.models import ApiToken, User
from conftest import ApiClient, token_of
from taskflow.audit.actor import TokenScope
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from taskflow.tests.test_permissions import MATRIX, rolled_back
from tasks.actions.comments import create_comment
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag
from tasks.changes.tasks import create_task, delete_task
from tasks.export.sequences import set_sequences
from tasks.models import Comment, Page, Project, ProjectMember, Tag, Task

pytestmark = [pytest.mark.isolation, pytest.mark.slow]

SHARE = int(os.environ.get("ISOLATION_SHARE", "23"))
MARKER = "qzforeign"
ABSENT = 9_000_000_123
LAST_ID = 7_000_000_000
NUMBERED = (User, Comment, Event, Page, Project, ProjectMember, Tag, Task, ApiToken)
ABSENT_TEXTS = {"key": "QZQZQ", "task_key": "QZQZQ-1"}
FILTERS = {
    "/tasks": ("project", "assignee", "created_by", "parent", "blocked_by", "tag"),
    "/tasks/counts?group_by=status": ("project", "assignee", "parent"),
    "/projects": ("owner",),
    "/comments": ("task", "author"),
    "/pages": ("project", "owner"),
    "/search?q=qzforeign": ("project",),
    "/trash": ("project",),
}
KINDS = {"project": "project", "task": "task", "parent": "task", "blocked_by": "task", "tag": "tag"}
SELECTORS = {
    "bulk": ("/tasks/bulk", lambda v: {"operations": [{"op": "delete", "id": v("task")}]}),
    "bulk_where": (
        "/tasks/bulk",
        lambda v: {"operations": [{"op": "complete", "where": {"project": [str(v("project"))]}}]},
    ),
    "undo_events": ("/undo", lambda v: {"event_ids": [v("event")]}),
    "undo_project": (
        "/undo",
        lambda v: {"actor": "me", "since": "2020-01-01T00:00:00Z", "project": str(v("project"))},
    ),
    "plan": ("/plans", lambda v: {"method": "DELETE", "path": f"/api/v1/tasks/{v('task')}"}),
    "token": ("/tokens", lambda v: {"name": "t", "project_ids": [v("project")]}),
}
# One of the two foreign worlds is their own: lists show it to them.
SEES_A_MARKER = ("staff", "other_tenant")
sent: Counter[str] = Counter()


def foreign_rows(owner, key):
    """Create one row of each kind that only the owner, and staff of the tenant, may see."""
    with inside(owner.tenant):
        project = create_project(owner, name=f"{MARKER} project", key=key)
        task = create_task(owner, project, title=f"{MARKER} task", external_ref="known")
        gone = create_task(owner, project, title=f"{MARKER} gone")
        delete_task(owner, gone)
        comment = create_comment(owner, task, body=f"{MARKER} comment")
        page = create_page(owner, project, title=f"{MARKER} page")
        token, _ = create_token(owner, name=f"{MARKER} token", scope=TokenScope.READ)
        membership = ProjectMember.objects.get(project=project)
        event = owner.user.events.order_by("pk").last()
        rows = {"project": project, "hers": project, "task": task, "gone": gone, "page": page}
        rows |= {"comment": comment, "token": token, "membership": membership, "event": event}
        return {name: row.pk for name, row in rows.items()} | {"key": key, "task_key": f"{key}-1"}


@pytest.fixture
def worlds(fixtures):
    """Foreign ids, with the actors to whom they are foreign. They occur in no other text."""
    set_sequences({model._meta.db_table: LAST_ID for model in NUMBERED})
    other = foreign_rows(fixtures.mallory, "QZO")
    with inside(fixtures.globex):
        other["tag"] = create_tag(fixtures.mallory, name=f"{MARKER} tag").pk
        user = create_user(fixtures.mallory, email=f"{MARKER}@globex.example")
    other |= dict.fromkeys(("carl", "eve", "bob", "new", "user"), user.pk)
    hidden = foreign_rows(fixtures.carl, "QZH")
    clients = {
        "anonymous": ApiClient(),
        "outside": ApiClient(token_of(fixtures.eve)),
        "member": ApiClient(token_of(fixtures.bob)),
        "owner": ApiClient(token_of(fixtures.ada)),
        "agent": ApiClient(token_of(fixtures.bot)),
        "reader": ApiClient(token_of(fixtures.bob, "read")),
        "bound": ApiClient(token_of(fixtures.bob, project_ids=[fixtures.apollo.pk])),
        "staff": ApiClient(token_of(fixtures.boss)),
        "bound_staff": ApiClient(token_of(fixtures.boss, project_ids=[fixtures.apollo.pk])),
        "other_tenant": ApiClient(token_of(fixtures.mallory)),
    }
    without_staff = {name: c for name, c in clients.items() if name != "staff"}
    of_acme = {name: c for name, c in clients.items() if name != "other_tenant"}
    return [(other, of_acme), (hidden, without_staff)]


def variants(foreign, fixtures):
    """Headers and queries that name something else that is foreign."""
    yield "", {}
    yield "dry_run=true", {}
    yield "", {"If-Match": f'"task-{foreign["task"]}-1"'}
    yield "", {"Idempotency-Key": "used-by-the-owner"}
    yield "", {"X-Tenant": fixtures.globex.subdomain}
    yield "", {"X-On-Behalf-Of": str(fixtures.mallory.user.pk)}


def send(client, method, url, body, headers):
    sent["requests"] += 1
    how = {"content_type": "text/csv"} if isinstance(body, str) else {}
    data = [] if method == "get" and body is None else [body]
    with rolled_back():
        return getattr(client, method)(url, *data, headers=headers, **how)


def described(response, values):
    """The response without the request id and the ids that were sent."""
    text = re.sub(r'"request_id": ?"[^"]*"', "", response.content.decode())
    for value in sorted(map(str, values), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "#", text)
    shown = {n: response.headers.get(n) for n in ("ETag", "Location", "Allow", "WWW-Authenticate")}
    return response.status_code, text, shown


def compare(client, make, foreign, where):
    """Send a request with foreign and with absent ids. `make(value)` returns its parts."""
    absent = ABSENT_TEXTS | dict.fromkeys(foreign.keys() - ABSENT_TEXTS.keys(), ABSENT)
    results = []
    for values in (foreign, absent):
        method, url, body, headers = make(values)
        response = send(client, method, url, body, headers)
        assert response.status_code < 500, (where, response.content)
        assert MARKER not in response.content.decode().replace("q=qzforeign", ""), where
        assert MARKER not in str(response.headers), where
        results.append(described(response, values.values()))
    assert results[0] == results[1], where


def placeholders(path, body):
    names = re.findall(r"{(\w+)}", path)
    return names + [
        v for v in (body.values() if isinstance(body, dict) else ()) if isinstance(v, str)
    ]


def is_sampled(*parts):
    """Whether this case is in the share that is sent. The same in each run."""
    sent["cases"] += 1
    return sent["cases"] % SHARE == 0


OPERATIONS = sorted(MATRIX)


@pytest.mark.sampled(1_000)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_foreign_id_in_path_or_body_answers_as_an_absent_one(fixtures, worlds, operation):
    method, path, body, *_ = MATRIX[operation]
    for foreign, clients in worlds:
        named = set(placeholders(path, body)) & foreign.keys()
        in_path = set(re.findall(r"{(\w+)}", path))
        if not named or not in_path <= foreign.keys():
            continue
        for actor, client in clients.items():
            for query, headers in variants(foreign, fixtures):
                for task_name, project_name in (("task", "project"), ("task_key", "key")):
                    if not is_sampled():
                        continue

                    def make(values, query=query, headers=headers, names=(task_name, project_name)):
                        ids = values | {"task": values[names[0]], "project": values[names[1]]}
                        url = path.format(**ids)
                        url += f"{'&' if '?' in url else '?'}{query}" if query else ""
                        sent_body = body
                        if isinstance(body, dict):
                            sent_body = {
                                k: values.get(v, v) if isinstance(v, str) else v
                                for k, v in body.items()
                            }
                        return method, url, sent_body, headers

                    compare(client, make, foreign, (operation, actor, query, headers))


@pytest.mark.parametrize("path", FILTERS)
def test_foreign_id_in_a_filter_answers_as_an_absent_one(fixtures, worlds, path):
    for foreign, clients in worlds:
        for name in FILTERS[path]:
            kind = KINDS.get(name, "user")
            if kind not in foreign:
                continue
            for actor, client in clients.items():

                def make(values, name=name, kind=kind):
                    return (
                        "get",
                        f"{path}{'&' if '?' in path else '?'}{name}={values[kind]}",
                        None,
                        {},
                    )

                compare(client, make, foreign, (path, name, actor))


@pytest.mark.parametrize("selector", SELECTORS)
def test_foreign_id_in_a_selector_answers_as_an_absent_one(fixtures, worlds, selector):
    path, build = SELECTORS[selector]
    for foreign, clients in worlds:
        for actor, client in clients.items():

            def make(values):
                return "post", path, build(values.__getitem__), {}

            compare(client, make, foreign, (selector, actor))


def test_lists_show_nothing_foreign(fixtures, worlds):
    for _foreign, clients in worlds:
        for actor, client in clients.items():
            if actor in SEES_A_MARKER:
                continue
            for path in ("/tasks", "/projects", "/comments", "/pages", "/search?q=task", "/trash"):
                response = send(client, "get", path, None, {})
                assert MARKER not in response.content.decode(), (actor, path)


def test_cursor_of_another_user_shows_nothing_foreign(fixtures, worlds):
    owner = ApiClient(token_of(fixtures.carl))
    with inside(fixtures.acme):
        create_task(fixtures.carl, fixtures.apollo, title="one more")
    cursor = owner.get("/tasks?limit=1").json()["next_cursor"]
    for _foreign, clients in worlds:
        for actor, client in clients.items():
            response = send(client, "get", f"/tasks?limit=1&cursor={cursor}", None, {})
            if actor in SEES_A_MARKER:
                continue
            assert MARKER not in response.content.decode(), actor


@pytest.fixture(scope="module", autouse=True)
def report():
    yield
    print(f"\n{sent['requests']:,} requests with foreign and absent ids, 1 case of {SHARE} sent.")
