"""An actor may undo an event if and only if the actor may make the inverse change through the API.

Random requests of random users make a history. Then each user tries to undo each event, and sends
the inverse requests, which are derived from the event. Both outcomes have to agree. These are all
exceptions:

- What the API cannot do: see NoInverse in inverse_requests.py.
- An event of another user that shows what the actor could not see then, is not found.
- A conflict: an undo also refuses to overwrite what others have changed since, and to remove what
  others have built upon, where the request would succeed.
- An undo of a change of a comment that was changed again reports this conflict also to users who are
  not its author, and so may not change it at all.
- Users may undo the creation of their own tags, although only administrators may delete tags.
- The e-mail address of a user is not changed back by the user's own undo.
- A token bound to projects undoes nothing outside projects, not even the name of its user.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from conftest import PROOF, ApiClient, token_of
from taskflow.audit.actor import Actor
from taskflow.audit.models import Event
from taskflow.audit.visibility import find_hidden_then
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.members import add_member
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task
from tasks.models import Comment, Page, Project, ProjectMember, Role, Tag, Task
from tasks.tests.inverse_requests import NoInverse, Request, find_inverse

EXAMPLES = 150 if PROOF else 12
MAX_STEPS = 14
MEMBERS = ("boss", "ada", "carl", "bob", "bot")
# The codes with which an undo refuses what the actor may not do.
REFUSALS = {"not_author", "target_gone"}
TITLE = st.sampled_from(["a", "b"])
n = st.integers(0, 9)
TASK = st.fixed_dictionaries(
    {},
    optional={
        "title": TITLE,
        "status": st.sampled_from(["todo", "done"]),
        "tags": st.lists(st.sampled_from(["x", "y"]), max_size=2),
    },
)
# Each step: a function of the ids, with the number of the sender.
STEPS = st.one_of(
    st.tuples(st.just("task"), n, n, TASK),
    st.tuples(st.just("edit"), n, n, TASK),
    st.tuples(st.just("edit"), n, n, TASK),
    st.tuples(st.just("tie"), n, n, n),
    st.tuples(st.just("assign"), n, n, n),
    st.tuples(st.just("move"), n, n, n),
    st.tuples(st.just("delete"), n, st.sampled_from([Task, Comment, Page, Project]), n),
    st.tuples(st.just("restore"), n, st.sampled_from([Task, Comment, Page, Project]), n),
    st.tuples(st.just("comment"), n, n, TITLE),
    st.tuples(st.just("edit comment"), n, n, TITLE),
    st.tuples(st.just("page"), n, n, TITLE),
    st.tuples(st.just("edit page"), n, n, TITLE),
    st.tuples(st.just("give page"), n, n, n),
    st.tuples(st.just("publish"), n, n, st.booleans()),
    st.tuples(st.just("project"), n, n, TITLE),
    st.tuples(st.just("give project"), n, n, n),
    st.tuples(st.just("join"), n, n, n),
    st.tuples(st.just("leave"), n, n, n),
    st.tuples(st.just("role"), n, n, st.sampled_from(list(Role))),
    st.tuples(st.just("tag"), n, n, st.sampled_from(["x", "y", "z"])),
    st.tuples(st.just("user"), n, n, TITLE),
    st.tuples(st.just("token"), n, n, n),
    st.tuples(st.just("tenant"), n, n, TITLE),
)


class History:
    """The rows of a test, and the requests that change them."""

    def __init__(self, fixtures: Any, clients: dict[str, ApiClient]) -> None:
        self.fixtures, self.clients = fixtures, clients

    def pick(self, model: Any, number: int) -> int:
        with inside(self.fixtures.acme):
            ids = list(model._base_manager.order_by("pk").values_list("pk", flat=True))
        return int(ids[number % len(ids)]) if ids else 0

    def user(self, number: int) -> int:
        return int(getattr(self.fixtures, MEMBERS[number % len(MEMBERS)]).user.pk)

    def send(self, step: tuple[Any, ...]) -> None:
        name, who, *given = step
        request = self.request(name, *given)
        send(self.clients[MEMBERS[who % len(MEMBERS)]], request)

    def request(self, name: str, a: Any, b: Any) -> Request:
        match name:
            case "task":
                body = {"title": "t", "project_id": self.pick(Project, a)} | b
                return Request("post", "/tasks", body)
            case "edit":
                return Request("patch", f"/tasks/{self.pick(Task, a)}?force=true", b)
            case "tie":
                body = {"blocked_by": [self.pick(Task, b)], "parent_id": self.pick(Task, b + 1)}
                return Request("patch", f"/tasks/{self.pick(Task, a)}", dict([list(body.items())[b % 2]]))  # fmt: skip
            case "assign":
                body = {"assignee_id": self.user(b)}
                return Request("post", f"/tasks/{self.pick(Task, a)}/assignment", body)
            case "move":
                body = {"project_id": self.pick(Project, b)}
                return Request("post", f"/tasks/{self.pick(Task, a)}/move", body)
            case "delete":
                return Request("delete", f"/{a._meta.model_name}s/{self.pick(a, b)}")
            case "restore":
                path = f"/trash/{a._meta.model_name}/{self.pick(a, b)}/restoration"
                return Request("post", path)
            case "comment":
                return Request("post", "/comments", {"task_id": self.pick(Task, a), "body": b})
            case "edit comment":
                return Request("patch", f"/comments/{self.pick(Comment, a)}", {"body": b})
            case "page":
                body = {"project_id": self.pick(Project, a), "title": b}
                return Request("post", "/pages", body)
            case "edit page":
                return Request("patch", f"/pages/{self.pick(Page, a)}", {"title": b})
            case "give page":
                return Request("patch", f"/pages/{self.pick(Page, a)}", {"owner_id": self.user(b)})
            case "publish":
                method = "post" if b else "delete"
                return Request(method, f"/pages/{self.pick(Page, a)}/publication")
            case "project":
                status = {"a": "archived", "b": "active"}[b]
                body = {"name": b, "status": status if a % 2 else "on_hold"}
                return Request("patch", f"/projects/{self.pick(Project, a)}", body)
            case "give project":
                body = {"owner_id": self.user(b)}
                return Request("patch", f"/projects/{self.pick(Project, a)}", body)
            case "join":
                body = {"user_id": self.user(b), "role": list(Role)[b % 3]}
                return Request("post", f"/projects/{self.pick(Project, a)}/members", body)
            case "leave":
                return Request("delete", f"/members/{self.pick(ProjectMember, a)}")
            case "role":
                return Request("patch", f"/members/{self.pick(ProjectMember, a)}", {"role": b})
            case "tag":
                if a % 2:
                    return Request("post", "/tags", {"name": b})
                return Request("patch", f"/tags/{self.pick(Tag, a)}", {"name": b})
            case "user":
                path = "/me" if a % 2 else f"/users/{self.user(a)}"
                return Request("patch", path, {"full_name": b})
            case "token":
                return Request("post", "/tokens", {"name": "t"})
            case _:
                return Request("patch", "/tenant", {"name": b})


def send(client: ApiClient, request: Request) -> Any:
    method = getattr(client, request.method)
    response = method(request.path, request.body) if request.body else method(request.path)
    assert response.status_code < 500, response.content
    return response


def outcome_of_undo(client: ApiClient, event: Event) -> str:
    r = client.post("/undo?dry_run=true&force=true", {"event_ids": [event.pk]})
    assert r.status_code < 500, r.content
    if r.status_code in (403, 404):
        return "refused"
    if r.status_code == 200:
        codes = {entry["code"] for entry in r.json()["left_out"]}
        return "refused" if codes & REFUSALS else "done" if r.json()["undone"] else "nothing"
    codes = {error.get("code") for error in r.json().get("errors", [])}
    if not codes & REFUSALS:
        return "conflict"
    return "refused" if codes <= REFUSALS else "nothing"


def outcome_of_requests(client: ApiClient, requests: list[Request]) -> str:
    """Return the outcome of the first request that is refused. All are rolled back."""
    with transaction.atomic():
        outcome = "done"
        for request in requests:
            r = send(client, request)
            codes = {e.get("code") for e in r.json().get("errors", [])} if r.content else set()
            if r.status_code in (403, 404) or "unknown_reference" in codes:
                outcome = "refused"
            elif r.status_code >= 400:
                outcome = "conflict"
            if outcome != "done":
                break
        transaction.set_rollback(True)
    return outcome


def find_exception(actor: Actor, event: Event) -> str | None:
    """Return the outcome of an undo that is no inverse request, or None."""
    is_own = event.actor_id == actor.user.pk
    is_bound = actor.project_ids is not None
    if (is_bound or not is_own) and find_hidden_then(actor.viewer, [event]):
        return "refused"
    if is_bound and event.project_id is None:
        return "refused" if not (event.subject_type == "tag" and is_own) else "any"
    if event.subject_type == "tag" and event.verb == "created" and is_own:
        return "any"
    return None


def was_page_of_stranger(event: Event) -> bool:
    """Return whether the page belonged to somebody who was no member of its project.

    People who leave a project keep their pages, but nobody can be given a page of a project
    without being its member.
    """
    if event.subject_type != "page" or "owner" not in event.changes:
        return False
    former, _ = event.changes["owner"]
    members = Event.objects.filter(subject_type="projectmember", project_id=event.project_id)
    since = members.filter(pk__gt=event.pk).values_list("changes", flat=True)
    has_left_since = any(changes.get("user", [None])[0] == former for changes in since)
    is_member = ProjectMember.objects.filter(project=event.project_id, user=former).exists()
    return not is_member and not has_left_since


def gives_to_member_of_trashed_project(event: Event, requests: list[Request]) -> bool:
    """Return whether a token bound to the project cannot see whom the undo names.

    It sees the members of projects that are not in the trash. The first request restores it.
    """
    return requests[0].path.startswith("/trash/project/") and not event.changes.keys().isdisjoint(
        {"assignee", "owner", "user"}
    )


def use_own_path(actor: Actor, requests: list[Request]) -> list[Request]:
    """Send changes of the own name to /me, as users do who are no administrators."""
    own = f"/users/{actor.user.pk}"
    is_name = all(r.body.keys() <= {"full_name", "handle"} for r in requests)
    if actor.is_staff or not is_name:
        return requests
    return [Request(r.method, "/me" if r.path == own else r.path, r.body) for r in requests]


AGREEMENT = {
    # outcome of the undo: outcomes of the inverse requests
    "done": {"done"},
    "refused": {"refused"},
    "conflict": {"conflict", "done"},
    "nothing": {"done", "refused", "conflict"},
}


@pytest.mark.slow
@pytest.mark.proof
def test_undo_is_permitted_exactly_if_the_inverse_requests_are(fixtures):
    with inside(fixtures.acme):
        zeus = create_project(fixtures.ada, name="Zeus", key="ZEU")
        add_member(fixtures.ada, zeus, user=fixtures.carl.user)
        create_task(fixtures.carl, zeus, title="Zeus's")
        create_comment(fixtures.bob, fixtures.task, body="Ready?")
        create_page(fixtures.bob, fixtures.apollo, title="Plan")
    clients = {name: ApiClient(token_of(getattr(fixtures, name))) for name in (*MEMBERS, "eve")}
    clients["bob, reading"] = ApiClient(token_of(fixtures.bob, "read"))
    clients["ada, writing"] = ApiClient(token_of(fixtures.ada, "write"))
    for name, project in (("ada", fixtures.apollo), ("carl", zeus), ("boss", zeus)):
        token = token_of(getattr(fixtures, name), project_ids=[project.pk])
        clients[f"{name}, bound"] = ApiClient(token)
    projects = {"ada, bound": (fixtures.apollo.pk,)}
    projects |= {"carl, bound": (zeus.pk,), "boss, bound": (zeus.pk,)}
    history, compared = History(fixtures, clients), Counter[str]()
    with inside(fixtures.acme):
        start = Event.objects.latest("pk").pk

    def compare(name: str, client: ApiClient, event: Event) -> None:
        actor = getattr(fixtures, name.partition(",")[0])
        actor = Actor(actor.user, actor.tenant, project_ids=projects.get(name))
        with inside(fixtures.acme):
            expected = find_exception(actor, event)
            try:
                requests = use_own_path(actor, find_inverse(event))
            except NoInverse as reason:
                compared[str(reason)] += 1
                return
        undone = outcome_of_undo(client, event)
        if expected is not None:
            compared["exception"] += 1
            assert expected in ("any", undone), describe(name, event, undone, [], expected)
            return
        outcome = outcome_of_requests(client, requests)
        compared[f"{event.subject_type}: {outcome}"] += 1
        allowed = AGREEMENT[undone]
        if undone == "conflict" and event.subject_type == "comment":
            allowed = allowed | {"refused"}  # because of the author
        with inside(fixtures.acme):
            if was_page_of_stranger(event):
                allowed = allowed | {"conflict"}  # the undo restores what was so before
        is_bound = actor.project_ids is not None
        if undone == "refused" and is_bound and gives_to_member_of_trashed_project(event, requests):
            allowed = allowed | {"done"}
        assert outcome in allowed, describe(name, event, undone, requests, outcome)

    @settings(
        phases=[Phase.generate],
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=not PROOF,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(STEPS, min_size=6, max_size=MAX_STEPS))
    def explore(steps: list[tuple[Any, ...]]) -> None:
        with transaction.atomic():
            for step in steps:
                history.send(step)
            with inside(fixtures.acme):
                events = list(Event.objects.filter(pk__gt=start).order_by("pk"))
            for event in events:
                for name, client in clients.items():
                    compare(name, client, event)
            transaction.set_rollback(True)

    explore()

    print(f"\n{connection.vendor}: {EXAMPLES} histories; " + json.dumps(compared, sort_keys=True))
    assert {"task: done", "task: refused", "comment: refused", "page: refused"} <= compared.keys()


def describe(name: str, event: Event, undone: str, requests: list[Request], outcome: str) -> str:
    return f"{name}: {event} {event.changes}: undo {undone}; {outcome} by {requests}"
