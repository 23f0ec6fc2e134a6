"""Permissions of undo, checked on the present row with the present role."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest

from accounts.actions.tenants import create_operator
from conftest import ApiClient, Fixtures, token_of
from taskflow.audit.actor import Actor
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment, delete_comment
from tasks.actions.members import add_member, change_role, remove_member
from tasks.actions.pages import create_page, publish_page, update_page
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag, update_tag
from tasks.actions.trash import restore
from tasks.actions.undo import undoing as undo_actions
from tasks.changes.tasks import complete_task, create_task, delete_task, move_task, update_task
from tasks.models import Comment, Page, Project, ProjectMember, Role

pytestmark = pytest.mark.one_database

R1 = "r-1"


@dataclass
class Place:
    """Two projects: Apollo, and Zeus of Ada and Carl, of which Bob is not a member."""

    fixtures: Fixtures
    zeus: Project
    comment: Comment  # Bob's
    page: Page  # Bob's draft

    def actor_of(self, name: str) -> Actor:
        return replace(getattr(self.fixtures, name), request_id=R1)

    def fresh(self, row: Any) -> Any:
        return type(row).everything.get(pk=row.pk)

    def membership(self, name: str) -> ProjectMember:
        user = getattr(self.fixtures, name).user
        return ProjectMember.objects.select_related("project").get(
            user=user, project=self.fixtures.apollo
        )

    def client(self, name: str, *args: Any, **kwargs: Any) -> ApiClient:
        return ApiClient(token_of(getattr(self.fixtures, name), *args, **kwargs))


@pytest.fixture
def place(fixtures):
    with inside(fixtures.acme):
        zeus = create_project(fixtures.ada, name="Zeus", key="ZEU")
        add_member(fixtures.ada, zeus, user=fixtures.carl.user)
        comment = create_comment(fixtures.bob, fixtures.task, body="Ready?")
        page = create_page(fixtures.bob, fixtures.apollo, title="Plan")
    return Place(fixtures, zeus, comment, page)


# ---- what Bob did ----


def edit_task(place: Place) -> None:
    update_task(place.actor_of("bob"), place.fixtures.task, title="Bob's")


def finish_task(place: Place) -> None:
    complete_task(place.actor_of("bob"), place.fixtures.task)


def new_task(place: Place) -> None:
    place.fixtures.task = create_task(place.actor_of("bob"), place.fixtures.apollo, title="Bob's")


def trash_task(place: Place) -> None:
    delete_task(place.actor_of("bob"), place.fixtures.task)


def new_comment(place: Place) -> None:
    place.comment = create_comment(place.actor_of("bob"), place.fixtures.task, body="x")


def trash_comment(place: Place) -> None:
    delete_comment(place.actor_of("bob"), place.comment)


def edit_page(place: Place) -> None:
    update_page(place.actor_of("bob"), place.page, title="Bob's")


def give_page(place: Place) -> None:
    update_page(place.actor_of("bob"), place.page, owner=place.fixtures.carl.user)


def leave(place: Place) -> None:
    remove_member(place.actor_of("bob"), place.membership("bob"))


# ---- what others did since ----


def nothing(place: Place) -> None:
    pass


def move_away(place: Place) -> None:
    move_task(place.fixtures.ada, place.fresh(place.fixtures.task), place.zeus)


def move_away_and_add_bob(place: Place) -> None:
    move_away(place)
    add_member(place.fixtures.ada, place.zeus, user=place.fixtures.bob.user)
    remove_member(place.fixtures.ada, place.membership("bob"))


def dismiss_bob(place: Place) -> None:
    remove_member(place.fixtures.ada, place.membership("bob"))


def restore_and_leave(place: Place) -> None:
    restore(place.fixtures.ada, place.fresh(place.fixtures.task))


def give_page_away(place: Place) -> None:
    update_page(place.fixtures.carl, place.fresh(place.page), owner=place.fixtures.carl.user)


def give_page_away_published(place: Place) -> None:
    publish_page(place.fixtures.carl, place.fresh(place.page))
    give_page_away(place)


ROWS = {
    # what Bob did, what happened since: the status for each user who undoes Bob's change
    #                                  bob, carl (admin), eve (outside), bot (member)
    (edit_task, nothing): (200, 200, 404, 200),
    (edit_task, move_away): (404, 200, 404, 404),
    (edit_task, move_away_and_add_bob): (200, 200, 404, 404),
    (edit_task, dismiss_bob): (404, 200, 404, 200),
    (finish_task, move_away): (404, 200, 404, 404),
    (new_task, nothing): (200, 200, 404, 200),
    (new_task, move_away): (404, 200, 404, 404),
    (trash_task, nothing): (200, 200, 404, 200),
    (trash_task, restore_and_leave): (200, 200, 404, 200),
    (new_comment, nothing): (200, 200, 404, 403),
    (new_comment, move_away): (404, 403, 404, 404),
    (new_comment, dismiss_bob): (404, 200, 404, 403),
    (trash_comment, nothing): (200, 200, 404, 403),
    (trash_comment, move_away): (404, 403, 404, 404),
    (edit_page, nothing): (200, 200, 404, 404),
    (edit_page, give_page_away): (404, 200, 404, 404),
    (edit_page, give_page_away_published): (403, 200, 404, 404),
    (give_page, nothing): (404, 200, 404, 404),
    (leave, nothing): (404, 200, 404, 403),
}


@pytest.mark.parametrize(("did", "since"), ROWS, ids=lambda step: step.__name__)
def test_permission_is_checked_on_the_present_row(place, did, since):
    with inside(place.fixtures.acme):
        did(place)
        since(place)
    statuses = {}
    for name in ("bob", "carl", "eve", "bot"):
        body = {"request_id": R1, "actor": "@bob", "on_conflict": "skip"}
        statuses[name] = place.client(name).post("/undo?dry_run=true", body).status_code

    assert tuple(statuses.values()) == ROWS[did, since]


@pytest.mark.parametrize(("did", "since"), ROWS, ids=lambda step: step.__name__)
def test_read_only_or_limited_token_cannot_undo(place, did, since):
    with inside(place.fixtures.acme):
        did(place)
        since(place)
        last = Event.objects.latest("pk").pk
        elsewhere = create_project(place.fixtures.bob, name="Elsewhere")
    body = {"request_id": R1, "on_conflict": "skip"}

    reading = place.client("bob", "read").post("/undo", body)
    bound = place.client("bob", project_ids=[elsewhere.pk]).post("/undo", body)

    assert (reading.status_code, bound.status_code) == (403, 404)
    with inside(place.fixtures.acme):
        assert not Event.objects.filter(pk__gt=last, undoes__isnull=False).exists()


def carls_events(place: Place, **which: Any) -> list[int]:
    with inside(place.fixtures.acme):
        return list(Event.objects.filter(actor=place.fixtures.carl.user, **which).values_list("pk", flat=True))  # fmt: skip


@pytest.mark.parametrize("verb", ["deleted", "restored"])
def test_former_admin_cannot_undo_changes_of_another_users_comment(place, verb):
    """Carl deleted and restored Bob's comment as an admin of the project, and is a member now."""
    with inside(place.fixtures.acme):
        delete_comment(place.fixtures.carl, place.comment)
        if verb == "restored":
            restore(place.fixtures.carl, place.fresh(place.comment))
    body = {"event_ids": carls_events(place, subject_type="comment", verb=verb)}
    assert place.client("carl").post("/undo?dry_run=true", body).status_code == 200
    with inside(place.fixtures.acme):
        change_role(place.fixtures.ada, place.membership("carl"), role=Role.MEMBER)

    assert place.client("carl").post("/undo", body).status_code == 403


def test_undoing_the_handover_of_a_page_requires_a_manager(place):
    with inside(place.fixtures.acme):
        publish_page(place.fixtures.bob, place.page)
        give_page(place)
    body = {"request_id": R1, "actor": "@bob"}

    assert place.client("bob").post("/undo", body).status_code == 403
    assert place.client("ada").post("/undo", body).status_code == 200
    with inside(place.fixtures.acme):
        assert Page.objects.get(pk=place.page.pk).owner == place.fixtures.bob.user


def test_undoing_a_move_requires_membership_in_both_projects(place):
    with inside(place.fixtures.acme):
        move_task(place.actor_of("carl"), place.fixtures.task, place.zeus)
        remove_member(place.fixtures.ada, place.membership("carl"))

    assert place.client("carl").post("/undo", {"request_id": R1}).status_code == 404


def test_undoing_the_membership_of_a_later_owner_requires_an_owner(place):
    """Carl added Eve; Ada made her an owner."""
    with inside(place.fixtures.acme):
        eve = add_member(
            place.actor_of("carl"), place.fixtures.apollo, user=place.fixtures.eve.user
        )
        change_role(place.fixtures.ada, eve, role=Role.OWNER)
    body = {"request_id": R1, "on_conflict": "skip"}

    assert place.client("carl").post("/undo", body).status_code == 403


def test_undoing_a_change_of_a_project_in_the_trash_requires_an_owner(place):
    """An admin may change the project, but only its owners may restore it, which comes first."""
    named = {"headers": {"X-Request-Id": R1}}
    carl, ada = place.client("carl"), place.client("ada")
    assert carl.patch("/projects/APO", {"name": "Artemis"}, **named).status_code == 200
    assert ada.delete("/projects/APO").status_code == 204

    assert carl.post("/undo", {"request_id": R1}).status_code == 403

    of_carl = {"request_id": R1, "actor": "@carl"}
    assert ada.post("/undo", of_carl).status_code == 200


def test_row_moved_to_an_invisible_project_before_the_undo_is_not_found(place, monkeypatch):
    """The move happens after the selection and before the lock."""
    with inside(place.fixtures.acme):
        edit_task(place)

    def move_instead_of_locking(events: Any) -> None:
        move_away(place)

    monkeypatch.setattr(undo_actions, "_lock_projects", move_instead_of_locking)

    assert place.client("bob").post("/undo", {"request_id": R1}).status_code == 404


# ---- by request id ----


def test_events_of_another_user_with_the_same_request_id_are_not_selected(place, events):
    """Eve cannot make Bob's undo fail, be refused, or undo more."""
    with inside(place.fixtures.acme):
        edit_task(place)
    eve = place.client("eve")
    headers = {"X-Request-Id": R1}
    of_eve = eve.post("/projects", {"name": "Of the other"}, headers=headers).json()["id"]
    carl = place.client("carl")
    carl.patch("/tasks/APO-1", {"priority": "high"}, headers=headers)
    carl.patch("/projects/APO", {"name": "Renamed"}, headers=headers)

    done = place.client("bob").post("/undo", {"request_id": R1})

    assert (done.status_code, len(done.json()["undone"])) == (200, 1)
    task = carl.get("/tasks/APO-1").json()
    assert (task["title"], task["priority"]) == ("Launch", "high")
    assert eve.get(f"/projects/{of_eve}").status_code == 200


def test_actor_with_request_id_selects_events_of_that_user(place):
    with inside(place.fixtures.acme):
        edit_task(place)
    carl = place.client("carl")
    carl.patch("/tasks/APO-1", {"priority": "high"}, headers={"X-Request-Id": R1})

    for ref in ("@bob", str(place.fixtures.bob.user.pk)):
        plan = carl.plan("post", "/undo", {"request_id": R1, "actor": ref})
        assert [e["changes"] for e in plan["events"]] == [{"title": ["Bob's", "Launch"]}]
    own = carl.post("/undo", {"request_id": R1, "actor": "me"})

    assert own.status_code == 200
    task = carl.get("/tasks/APO-1").json()
    assert (task["title"], task["priority"]) == ("Bob's", "medium")


def test_invisible_events_of_a_request_are_ignored(place):
    """The visible events are undone, and the response does not mention the others."""
    with inside(place.fixtures.acme):
        hidden = create_task(place.fixtures.ada, place.zeus, title="hidden")
        move_task(place.fixtures.ada, hidden, place.fixtures.apollo)
        other = create_task(place.fixtures.bob, place.fixtures.apollo, title="other")
        for task in (place.fixtures.task, other):
            update_task(place.actor_of("bob"), task, priority="high")
        move_task(place.fixtures.ada, place.fresh(other), place.zeus)

    done = place.client("bob").post("/undo", {"request_id": R1}).json()

    assert (len(done["undone"]), done["left_out"]) == (1, [])
    assert str(other.pk) not in json.dumps(done["left_out"])
    ada = place.client("ada")
    priorities = [
        ada.get(f"/tasks/{t.pk}").json()["priority"] for t in (place.fixtures.task, other)
    ]
    assert priorities == ["medium", "high"]


@pytest.mark.parametrize("name", ["task", "comment", "page"])
def test_change_of_a_row_and_deletion_of_its_project_are_undone_together(place, events, name):
    """The rows of a deleted project are visible to those who can undo its deletion."""
    with inside(place.fixtures.acme):
        comment = create_comment(place.fixtures.ada, place.fixtures.task, body="Ada's")
    row = {"task": place.fixtures.task, "comment": comment, "page": place.page}[name]
    field = {"task": "title", "comment": "body", "page": "title"}[name]
    former = getattr(row, field)
    author = "ada" if name == "comment" else "bob"
    place.client(author).patch(f"/{name}s/{row.pk}", {field: "changed"})
    change = events(place.fixtures.acme, subject_type=name)[-1]
    place.client("ada").delete("/projects/APO")
    deletion = events(place.fixtures.acme, subject_type="project")[-1]

    done = place.client("ada").post("/undo", {"event_ids": [change.pk, deletion.pk]})

    assert done.status_code == 200, done.content
    assert place.client("bob").get(f"/{name}s/{row.pk}").json()[field] == former


def test_change_of_a_draft_in_a_deleted_project_is_invisible_to_other_members(place, events):
    place.client("bob").patch(f"/pages/{place.page.pk}", {"title": "changed"})
    place.client("ada").delete("/projects/APO")
    change = events(place.fixtures.acme, subject_type="page")[-1]

    response = place.client("bot").post("/undo", {"event_ids": [change.pk]})

    assert response.status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"request_id": "r", "since": "2026-01-01T00:00:00Z", "actor": "me"},
        {"event_ids": [1], "actor": "me"},
        {"request_id": "r", "actor": "@bob", "until": "2026-01-01T00:00:00Z"},
        {"request_id": "r", "actor": "@nobody"},
        {"request_id": "r", "actor": ""},
    ],
)
def test_actor_without_request_id_or_since_is_refused(place, body):
    assert place.client("ada").post("/undo", body).status_code == 422


def test_actor_none_selects_events_of_operators(place):
    """An operator has no user in the tenant."""
    operator = create_operator(
        email="op@platform.example", full_name="Op", password="a long word 1"
    )
    actor_of = Actor(operator, place.fixtures.acme, request_id=R1)
    with inside(place.fixtures.acme):
        update_task(actor_of, place.fixtures.task, title="Op's")
        edit_priority = replace(place.fixtures.bob, request_id=R1)
        update_task(edit_priority, place.fresh(place.fixtures.task), priority="high")
    ada = place.client("ada")

    assert ada.post("/undo", {"request_id": R1}).status_code == 404
    assert place.client("eve").post("/undo", {"request_id": R1, "actor": "none"}).status_code == 404
    assert ada.post("/undo", {"request_id": R1, "actor": "none"}).status_code == 200
    task = ada.get("/tasks/APO-1").json()
    assert (task["title"], task["priority"]) == ("Launch", "high")


# ---- foreign is absent ----


@pytest.mark.slow
def test_invisible_events_get_the_same_response_as_missing_ones(place, events):
    """The responses are equal except for the request id."""
    fixtures = place.fixtures
    with inside(fixtures.acme):
        hidden = create_project(fixtures.ada, name="Hidden")
        create_task(fixtures.ada, hidden, title="hidden")
        create_page(fixtures.carl, fixtures.apollo, title="A draft of Carl's")
        update_tag(fixtures.boss, create_tag(fixtures.boss, name="a"), name="b")
    place.client("boss").patch(f"/users/{fixtures.eve.user.pk}", {"full_name": "N"})
    place.client("boss").patch("/tenant", {"name": "N"})
    place.client("ada").post("/tokens", {"name": "second"})
    mine = {e.pk for e in events(fixtures.acme, actor=fixtures.bob.user)}
    shown = {
        e.pk
        for e in events(fixtures.acme)
        if e.project_id in (fixtures.apollo.pk, None) and e.subject_type in ("task", "comment")
    }
    shown |= {e.pk for e in events(fixtures.acme, project_id=fixtures.apollo.pk) if e.subject_type in ("project", "projectmember")}  # fmt: skip
    foreign = [e for e in events(fixtures.acme) if e.pk not in mine | shown]
    foreign += events(fixtures.globex)
    kinds = {e.subject_type for e in foreign}
    assert kinds >= {"task", "page", "tag", "user", "tenant", "apitoken", "project"}
    bob = place.client("bob")

    def response_to(pk: int) -> tuple[int, str]:
        r = bob.post("/undo", {"event_ids": [pk]}, headers={"X-Request-Id": "same"})
        return r.status_code, r.content.decode()

    absent = response_to(10**12)
    assert absent[0] == 404
    assert {(e.subject_type, *response_to(e.pk)) for e in foreign} == {
        (kind, *absent) for kind in kinds
    }


def test_invisible_requests_get_the_same_response_as_missing_ones(place):
    place.client("ada").patch("/projects/ZEU", {"name": "N"}, headers={"X-Request-Id": R1})
    bob = place.client("bob")

    responses = {
        bob.post("/undo", body, headers={"X-Request-Id": "same"}).content
        for body in (
            {"request_id": R1},
            {"request_id": R1, "actor": "@ada"},
            {"request_id": "nothing"},
            {"request_id": "nothing", "actor": "@ada"},
        )
    }

    assert len(responses) == 1
