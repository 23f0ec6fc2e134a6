"""Events are as visible as their row is now and as it was then, with the memberships of now."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conftest import ApiClient, Fixtures, token_of
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment, update_comment
from tasks.actions.members import add_member
from tasks.actions.pages import create_page, publish_page, unpublish_page, update_page
from tasks.actions.projects import create_project, update_project
from tasks.changes.tasks import create_task, move_task, update_task
from tasks.models import Page, Project, Task

pytestmark = pytest.mark.one_database
SECRET = "swordfish"


class Place:
    """Two projects of Ada: Apollo, and Zeus, of which Bob and the agent are not members."""

    def __init__(self, fixtures: Fixtures) -> None:
        self.fixtures = fixtures
        with inside(fixtures.acme):
            self.zeus = create_project(fixtures.ada, name="Zeus", key="ZEU")

    def client(self, name: str, **kwargs: Any) -> ApiClient:
        return ApiClient(token_of(getattr(self.fixtures, name), **kwargs))

    def moved_task(self) -> Task:
        """A task of Zeus with a secret that was removed before the task was moved to Apollo."""
        ada = self.fixtures.ada
        with inside(self.fixtures.acme):
            task = create_task(ada, self.zeus, title="Harmless")
            update_task(ada, task, title=SECRET)
            update_comment(ada, create_comment(ada, task, body=SECRET), body="x")
            update_task(ada, task, title="Clean")
            move_task(ada, task, self.fixtures.apollo)
        return task

    def published_page(self) -> Page:
        """A page of Carl with a secret that was removed before it was published."""
        carl = self.fixtures.carl
        with inside(self.fixtures.acme):
            page = create_page(carl, self.fixtures.apollo, title="Plan", body=SECRET)
            update_page(carl, page, body="Clean")
            publish_page(carl, page)
            update_page(carl, page, title="Better plan")
        return page


@pytest.fixture
def place(fixtures):
    return Place(fixtures)


def read(client: ApiClient, path: str) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = client.get(f"{path}?limit=200&include=count").json()["data"]
    return data


def verbs(client: ApiClient, path: str) -> list[str]:
    return [event["verb"] for event in read(client, path)]


def test_what_was_removed_before_a_move_is_hidden(place):
    task = place.moved_task()
    paths = [f"/tasks/{task.pk}/events", "/projects/APO/events"]

    for name, sees in (("bob", False), ("carl", False), ("bot", False), ("ada", True), ("boss", True)):  # fmt: skip
        text = place.client(name).get(paths[0]).content.decode()
        assert (SECRET in text) is sees, name
        assert SECRET not in place.client(name).get(paths[1]).content.decode()
    assert verbs(place.client("bob"), paths[0]) == ["task.moved"]
    page = place.client("bob").get(f"{paths[0]}?include=count").json()
    assert (page["count"], page["has_more"]) == (1, False)


@pytest.mark.slow
def test_bound_token_does_not_see_what_was_removed_before_a_move(place):
    task = place.moved_task()

    for name in ("ada", "boss"):
        client = place.client(name, project_ids=[place.fixtures.apollo.pk])
        assert verbs(client, f"/tasks/{task.pk}/events") == ["task.moved"]
        events = [e.pk for e in _events(place, subject_id=task.pk, subject_type="task")]
        assert client.post("/undo", {"event_ids": events[1:2]}).status_code == 404


def test_what_one_request_removed_before_it_moved_the_task_is_hidden(place):
    with inside(place.fixtures.acme):
        task = create_task(place.fixtures.ada, place.zeus, title=SECRET)
    operations = [
        {"op": "update", "id": task.pk, "data": {"title": "Clean"}},
        {"op": "move", "id": task.pk, "data": {"project_id": place.fixtures.apollo.pk}},
        {"op": "update", "id": task.pk, "data": {"title": "Cleaner"}},
    ]

    done = place.client("ada").post("/tasks/bulk", {"operations": operations})

    assert done.status_code == 200, done.content
    shown = read(place.client("bob"), f"/tasks/{task.pk}/events")
    assert [event["verb"] for event in shown] == ["task.changed", "task.moved"]
    assert SECRET not in str(shown)
    projects = [e.project_id for e in _events(place, subject_type="task", subject_id=task.pk)]
    apollo = place.fixtures.apollo.pk
    assert projects == [place.zeus.pk, place.zeus.pk, apollo, apollo]


@pytest.mark.slow
def test_undo_that_moves_and_edits_hides_what_it_changed_in_the_other_project(place):
    """The undo of the undo moves the task back and changes its title with one event."""
    ada, apollo = place.client("ada"), place.fixtures.apollo.pk
    with inside(place.fixtures.acme):
        task = create_task(place.fixtures.ada, place.zeus, title=SECRET)
    operations = [
        {"op": "update", "id": task.pk, "data": {"title": "Clean"}},
        {"op": "move", "id": task.pk, "data": {"project_id": apollo}},
    ]
    ada.post("/tasks/bulk", {"operations": operations}, headers={"X-Request-Id": "r-1"})
    ada.post("/undo", {"request_id": "r-1"}, headers={"X-Request-Id": "r-2"})
    assert ada.post("/undo", {"request_id": "r-2"}).status_code == 200

    last = read(ada, f"/tasks/{task.pk}/events")[0]
    assert last["changes"]["title"] == [SECRET, "Clean"]
    assert last["project_id"] == apollo
    assert SECRET not in str(read(place.client("bob"), f"/tasks/{task.pk}/events"))
    assert SECRET not in str(read(place.client("bob"), "/projects/APO/events"))


def test_what_was_removed_before_a_publication_is_hidden(place):
    place.published_page()

    for name, sees in (("bob", False), ("bot", False), ("carl", True), ("ada", True)):
        events = read(place.client(name), "/projects/APO/events")
        of_page = [e["verb"] for e in events if e["subject"]["type"] == "page"]
        assert (SECRET in str(events)) is sees, name
        shown = ["page.changed", "page.published"]
        assert of_page == (shown if not sees else [*shown, "page.changed", "page.created"])


def test_what_was_written_in_a_draft_between_two_publications_is_hidden(place):
    carl, page = place.fixtures.carl, place.published_page()
    with inside(place.fixtures.acme):
        unpublish_page(carl, page)
        update_page(carl, page, body=SECRET)
        update_page(carl, page, body="Clean again")
    place.client("carl").post("/undo", {"event_ids": [_events(place, verb="unpublished")[0].pk]})

    events = read(place.client("bob"), "/projects/APO/events")

    assert SECRET not in str(events)
    assert [e["verb"] for e in events[:4]] == [
        "page.published",
        "page.unpublished",
        "page.changed",
        "page.published",
    ]


def test_undo_that_publishes_and_edits_hides_the_draft(place):
    carl, client = place.fixtures.carl, place.client("carl")
    with inside(place.fixtures.acme):
        page = create_page(carl, place.fixtures.apollo, title="Plan", is_published=True)
        actor = replace(carl, request_id="r-1")
        unpublish_page(actor, page)
        update_page(actor, page, body=SECRET)

    assert client.post("/undo", {"request_id": "r-1"}).status_code == 200

    events = read(place.client("bob"), "/projects/APO/events")
    assert SECRET not in str(events)
    assert SECRET in str(read(client, "/projects/APO/events"))


def test_events_of_a_task_that_was_moved_away_are_hidden(place):
    fixtures = place.fixtures
    with inside(fixtures.acme):
        create_comment(fixtures.bob, fixtures.task, body="mine")
        before = len(Event.objects.filter(project_id=fixtures.apollo.pk))
        move_task(fixtures.ada, fixtures.task, place.zeus)

    bobs = read(place.client("bob"), "/projects/APO/events")

    assert {e["subject"]["type"] for e in bobs} == {"project", "projectmember"}
    assert len(read(place.client("ada"), "/projects/APO/events")) == before


def test_events_of_a_deleted_task_stay_visible(place):
    task = place.fixtures.task
    place.client("ada").delete(f"/tasks/{task.pk}")
    assert verbs(place.client("bob"), "/projects/APO/events")[0] == "task.deleted"

    place.client("ada").delete(f"/trash/task/{task.pk}")

    assert verbs(place.client("bob"), "/projects/APO/events")[:2] == ["task.purged", "task.deleted"]


def test_new_member_sees_the_past_of_the_project(place):
    task = place.moved_task()
    with inside(place.fixtures.acme):
        add_member(place.fixtures.ada, place.zeus, user=place.fixtures.bob.user)

    assert SECRET in str(read(place.client("bob"), f"/tasks/{task.pk}/events"))


def test_new_owner_of_a_page_sees_its_past(place):
    page = place.published_page()
    with inside(place.fixtures.acme):
        update_page(place.fixtures.carl, page, owner=place.fixtures.bob.user)

    assert SECRET in str(read(place.client("bob"), "/projects/APO/events"))
    assert SECRET not in str(read(place.client("bot"), "/projects/APO/events"))


def test_project_in_the_trash_hides_the_events_of_tasks_that_were_moved_there(place):
    with inside(place.fixtures.acme):
        add_member(place.fixtures.ada, place.zeus, user=place.fixtures.bob.user)
        move_task(place.fixtures.ada, place.fixtures.task, place.zeus)
    assert "task.created" in verbs(place.client("bob"), "/projects/APO/events")
    place.client("ada").delete("/projects/ZEU")

    assert "task.created" not in verbs(place.client("bob"), "/projects/APO/events")


# ---- other readers of events ----


def test_refused_edit_does_not_contain_a_value_of_a_hidden_event(place):
    """If-Match names a version at which the task was in a hidden project."""
    task = place.moved_task()
    path = f"/tasks/{task.pk}"
    place.client("ada").patch(path, {"title": "Cleaner"})

    for version in range(1, 5):
        headers = {"If-Match": f'"task-{task.pk}-{version}"'}
        refused = place.client("bob").patch(path, {"title": "Mine"}, headers=headers)
        assert refused.status_code == 412
        (error,) = refused.json()["errors"]
        assert SECRET not in refused.content.decode()
        assert ("base" in error) is (version >= 3)
        assert error["theirs"] == "Cleaner"
        known = place.client("ada").patch(path, {"title": "Mine"}, headers=headers)
        assert "base" in known.json()["errors"][0]


def test_refused_edit_does_not_name_the_user_of_a_hidden_event(place):
    task = place.moved_task()
    headers = {"If-Match": f'"task-{task.pk}-1"'}

    refused = place.client("bob").patch(f"/tasks/{task.pk}", {"title": "Mine"}, headers=headers)

    assert refused.json()["errors"][0]["detail"] == "Another user changed it."


def test_hidden_events_cannot_be_undone(place):
    """The plan would show the hidden values, and the undo would bring them back."""
    task, page = place.moved_task(), place.published_page()
    secrets = [
        e.pk
        for e in _events(place, subject_id__in=[task.pk, page.pk])
        if SECRET in str(e.changes) and e.subject_type in ("task", "page")
    ]
    assert len(secrets) == 4

    for pk in secrets:
        planned = place.client("bob").plan("post", "/undo", {"event_ids": [pk]})
        assert (planned["status"], planned["events"]) == (404, [])
        assert place.client("ada").plan("post", "/undo", {"event_ids": [pk]})["status"] != 404


def test_obstacle_does_not_name_the_user_of_a_hidden_event(place):
    """Bob's edit was changed while the task was in a hidden project."""
    fixtures = place.fixtures
    bob = place.client("bob")
    bob.patch("/tasks/APO-1", {"title": "Bob's"}, headers={"X-Request-Id": "r-1"})
    with inside(fixtures.acme):
        task = Task.objects.select_related("project").get(pk=fixtures.task.pk)
        move_task(fixtures.ada, task, place.zeus)
        update_task(fixtures.ada, task, title="Ada's")
        move_task(fixtures.ada, task, Project.objects.get(pk=fixtures.apollo.pk))

    (error,) = bob.post("/undo", {"request_id": "r-1"}).json()["errors"]

    assert error["detail"] == "Another user has changed title since."


def test_own_change_in_a_project_that_was_left_can_still_be_undone(place):
    """Bob has made the change, so it shows nothing new; the history leaves it out."""
    fixtures = place.fixtures
    place.client("bob").patch("/tasks/APO-1", {"title": "Bob's"}, headers={"X-Request-Id": "r-1"})
    with inside(fixtures.acme):
        add_member(fixtures.ada, place.zeus, user=fixtures.bob.user)
        move_task(fixtures.ada, fixtures.task, place.zeus)
        member = fixtures.bob.user.memberships.get(project=fixtures.apollo)
    place.client("ada").delete(f"/members/{member.pk}")
    bob = place.client("bob")

    assert verbs(bob, f"/tasks/{fixtures.task.pk}/events") == ["task.moved"]
    bound = place.client("bob", project_ids=[place.zeus.pk])
    assert bound.post("/undo", {"request_id": "r-1"}).status_code == 404
    assert bob.post("/undo", {"request_id": "r-1"}).status_code == 200


# ---- cost, and stored events ----


@pytest.mark.parametrize("name", ["bob", "boss"])
def test_number_of_statements_does_not_depend_on_the_events(place, name):
    client = place.client(name)
    paths = ["/projects/APO/events", "/tasks/APO-1/events"]
    for path in paths:
        client.get(path)
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as captured:
            for path in paths:
                assert client.get(path).status_code == 200
        counts.append(len(captured.captured_queries))
        place.moved_task()
        place.published_page()
        with inside(place.fixtures.acme):
            update_project(place.fixtures.ada, place.fixtures.apollo, description=str(counts))

    assert counts[0] == counts[1]


def test_migration_computes_what_the_recorder_writes(place):
    place.published_page()
    place.moved_task()
    with inside(place.fixtures.acme):
        task = create_task(place.fixtures.ada, place.zeus, title="t")
        page = create_page(place.fixtures.bob, place.fixtures.apollo, title="p", is_published=True)
        unpublish_page(place.fixtures.bob, page)
        update_page(place.fixtures.bob, page, title="q")
    operations = [
        {"op": "update", "id": task.pk, "data": {"title": "Clean"}},
        {"op": "move", "id": task.pk, "data": {"project_id": place.fixtures.apollo.pk}},
    ]
    done = place.client("ada").post("/tasks/bulk", {"operations": operations})
    assert done.status_code == 200, done.content
    migration = import_module("taskflow.audit.migrations.0002_event_was_published")

    def state() -> list[tuple[int, int | None, bool | None]]:
        rows = Event.objects.order_by("pk").values_list("pk", "project_id", "was_published")
        return list(rows)

    with inside(place.fixtures.acme):
        written = state()
        Event.objects.filter(subject_type="page").update(was_published=None)
        Event.objects.filter(subject_id=task.pk, subject_type="task", verb="changed").update(project_id=place.fixtures.apollo.pk)  # fmt: skip
        assert state() != written
        migration.fill_pages(Event.objects.filter(subject_type="page"))
        migration.fill_tasks(Event.objects.all())

        assert state() == written


def _events(place: Place, **which: Any) -> list[Event]:
    with inside(place.fixtures.acme):
        return list(Event.objects.filter(**which).order_by("pk"))
