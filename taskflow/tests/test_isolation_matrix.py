"""Every operation, sent by every actor with ids that the actor may not see.

The response to a foreign id equals the response to an absent one, byte for byte but for the request
id and the id itself, and no text of a foreign row appears in any response. Foreign are the rows of
another tenant, and those of a project of the own tenant in which the actor is not a member; also
sessions, sign-ins, second factors, invitations and links of mails. isolation_worlds.py has the
rows and the actors. ISOLATION_SHARE=1 sends all requests (`make isolation-matrix`); by default it
is 7: of the ids in paths and bodies one case of 7, and all other cases.
"""

from __future__ import annotations

import os
import re
from collections import Counter

import pytest

from accounts import tokens
from accounts.actions.mail_tokens import issue_mail_token
from accounts.models import MailPurpose
from conftest import ApiClient, token_of
from taskflow.tenancy import inside
from taskflow.tests.isolation_worlds import ADDRESS, MARKER, build_worlds
from taskflow.tests.test_permissions import MATRIX, rolled_back
from tasks.changes.tasks import create_task

pytestmark = [pytest.mark.isolation, pytest.mark.slow, pytest.mark.matrix]

SHARE = int(os.environ.get("ISOLATION_SHARE", "7"))  # a prime that divides no number of variants
ABSENT = 9_000_000_123
ABSENT_TEXTS = {"key": "QZQZQ", "task_key": "QZQZQ-1"}
FILTERS = {
    "/tasks": ("project", "assignee", "created_by", "parent", "blocked_by", "tag"),
    "/tasks/counts?group_by=status": ("project", "assignee", "parent"),
    "/projects": ("owner",),
    "/comments": ("task", "author"),
    "/pages": ("project", "owner"),
    "/search?q=qzforeign": ("project",),
    "/trash": ("project",),
    "/claims": ("task", "user"),
}
KINDS = {"project": "project", "task": "task", "parent": "task", "blocked_by": "task", "tag": "tag"}
SELECTORS = {
    "claim": ("/claims", lambda v: {"task_id": v("free")}),
    "webhook": ("/webhooks", lambda v: {"url": "https://x.example/", "project_id": v("project")}),
    "bulk": ("/tasks/bulk", lambda v: {"operations": [{"op": "delete", "id": v("task")}]}),
    "bulk_where": (
        "/tasks/bulk",
        lambda v: {"operations": [{"op": "complete", "where": {"project": [str(v("project"))]}}]},
    ),
    "undo_events": ("/undo", lambda v: {"event_ids": [v("event")]}),
    "undo_second_factor": ("/undo", lambda v: {"event_ids": [v("factor_event")]}),
    "undo_sign_in": ("/undo", lambda v: {"event_ids": [v("sign_in_event")]}),
    "undo_invitation": ("/undo", lambda v: {"event_ids": [v("invitation_event")]}),
    "undo_project": (
        "/undo",
        lambda v: {"actor": "me", "since": "2020-01-01T00:00:00Z", "project": str(v("project"))},
    ),
    "plan": ("/plans", lambda v: {"method": "DELETE", "path": f"/api/v1/tasks/{v('task')}"}),
    "plan_session": (
        "/plans",
        lambda v: {"method": "DELETE", "path": f"/api/v1/sessions/{v('session')}"},
    ),
    "plan_invitation": (
        "/plans",
        lambda v: {"method": "POST", "path": f"/api/v1/invitations/{v('invitation')}/resending"},
    ),
    "invite": (
        "/invitations",
        lambda v: {"email": "n@x.example", "projects": [{"project": v("project")}]},
    ),
    "token": ("/tokens", lambda v: {"name": "t", "project_ids": [v("project")]}),
}
LISTS = (
    "/tasks",
    "/projects",
    "/comments",
    "/pages",
    "/search?q=task",
    "/trash",
    "/tags",
    "/users",
)
LISTS += ("/tokens", "/sessions", "/me/sign-ins", "/invitations", "/me/second-factor", "/me")
LISTS += ("/claims", "/views", "/webhooks", "/events?after=0")
LISTS += ("/notifications",)
# One of the two foreign worlds is their own: lists show it to them.
SEES_A_MARKER = ("staff", "operator_in_tenant", "other_tenant")
LINKS = {
    "password_reset": ("/auth/password-resets/completion", {"password": "a long passphrase"}),
    "email_change": ("/auth/email-changes/completion", {}),
    "invitation": ("/invitations/acceptance", {"password": "a long passphrase"}),
}
sent: Counter[str] = Counter()


@pytest.fixture
def worlds(fixtures):
    """Foreign ids, with the actors to whom they are foreign. They occur in no other text."""
    return build_worlds(fixtures)


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
        assert_shows_nothing_foreign(response, where)
        results.append(described(response, [*foreign.values(), *absent.values()]))
    assert results[0] == results[1], where


def assert_shows_nothing_foreign(response, where):
    text = response.content.decode().replace("q=qzforeign", "") + str(response.headers)
    assert MARKER not in text, where
    assert ADDRESS not in text, where


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


def test_worlds_have_a_row_of_every_kind_that_a_path_names(worlds):
    named = {name for _, path, *_ in MATRIX.values() for name in re.findall(r"{(\w+)}", path)}

    (other, _clients), (hidden, _others) = worlds

    assert named - other.keys() == set()
    assert named - hidden.keys() == {"bob", "eve", "new", "tag"}  # users and tags are seen by all


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


def test_each_actor_is_signed_in_as_it_is_meant_to_be(worlds):
    (_other, clients), _hidden = worlds
    responses = {actor: client.get("/tenant") for actor, client in clients.items()}

    signed_in = {actor for actor, r in responses.items() if r.status_code == 200}
    assert clients.keys() - signed_in == {"anonymous", "deactivated"}
    assert responses["operator"].json()["subdomain"] == "platform"
    assert responses["operator_in_tenant"].json()["subdomain"] == "acme"


def test_lists_show_nothing_foreign(fixtures, worlds):
    for _foreign, clients in worlds:
        for actor, client in clients.items():
            if actor in SEES_A_MARKER:
                continue
            for path in LISTS:
                response = send(client, "get", path, None, {})
                assert_shows_nothing_foreign(response, (actor, path))


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
            assert_shows_nothing_foreign(response, actor)


@pytest.mark.parametrize("purpose", LINKS)
@pytest.mark.parametrize("tenant", ["acme", "platform", "nowhere"])
def test_link_of_a_mail_of_another_tenant_answers_as_an_absent_one(
    fixtures, worlds, purpose, tenant
):
    """Also with the right secret: the host or X-Tenant names another tenant than the link."""
    (foreign, clients), _hidden = worlds
    path, values = LINKS[purpose]
    with inside(fixtures.globex):
        text = issue_mail_token(
            fixtures.globex,
            MailPurpose(purpose),
            user=None if purpose == "invitation" else fixtures.mallory.user,
            email="new@globex.example",
            subject_id=foreign["invitation"] if purpose == "invitation" else None,
        )
    absent = tokens.make_token_text(fixtures.globex.pk, kind=tokens.MAIL_LINK)
    for actor, client in clients.items():
        results = []
        for token in (text, absent):
            headers = {"X-Tenant": tenant}
            client.defaults["SERVER_NAME"] = f"{tenant}.localhost"
            response = send(client, "post", path, values | {"token": token}, headers)
            assert_shows_nothing_foreign(response, (purpose, actor))
            results.append(described(response, [token]))
        assert results[0] == results[1], (purpose, actor)
        assert results[0][0] == 422
    headers = {"X-Tenant": "globex"}  # the link works
    assert send(ApiClient(), "post", path, values | {"token": text}, headers).status_code < 300


@pytest.fixture(scope="module", autouse=True)
def report():
    yield
    print(f"\n{sent['requests']:,} requests with foreign and absent ids, 1 case of {SHARE} sent.")
