"""What two at once must not be able to do. Real commits, real threads, both databases."""

from __future__ import annotations

import threading

import pytest
from django.db import connections

from accounts.events.record import change
from accounts.models import Event
from accounts.tenancy import inside
from conftest import ApiClient, build_world, token_of
from tasks.actions.tasks import create_task
from tasks.models import ProjectMember, Role, Tag, Task

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def live():
    return build_world()


def at_once(*calls):
    """Run the calls in threads that start together; return what they returned."""
    barrier, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(index, call):
        barrier.wait()
        try:
            results[index] = call()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    return results


def test_numbers_have_neither_gaps_nor_doubles(live):
    token = token_of(live.ada)

    def create():
        body = {"project_id": live.apollo.pk, "title": "x"}
        return [ApiClient(token).post("/tasks", body).json()["number"] for _ in range(5)]

    numbers = [n for made in at_once(*[create] * 6) for n in made]

    assert sorted(numbers) == list(range(2, 32))


def test_two_who_need_the_same_new_tag_both_get_it(live):
    token = token_of(live.ada)

    for round_ in range(5):
        tag = f"new {round_}"
        body = {"project_id": live.apollo.pk, "title": "x", "tags": [tag]}
        answers = at_once(*[lambda body=body: ApiClient(token).post("/tasks", body)] * 4)

        assert [r.status_code for r in answers] == [201] * 4
        assert len({r.json()["tags"][0]["id"] for r in answers}) == 1
    with inside(live.acme):
        assert Tag.objects.count() == 5


def test_two_moves_never_close_a_cycle_together(live):
    token = token_of(live.ada)
    for _ in range(5):
        with inside(live.acme):
            a, b = (create_task(live.ada, live.apollo, title=t).pk for t in "ab")

        def move(task, parent):
            return lambda: ApiClient(token).patch(f"/tasks/{task}", {"parent_id": parent})

        statuses = [r.status_code for r in at_once(move(a, b), move(b, a))]

        assert sorted(statuses) == [200, 409]


def test_the_last_two_owners_cannot_both_leave(live):
    for _ in range(5):
        with inside(live.acme):
            members = ProjectMember.objects.filter(project=live.apollo)
            for member in members.filter(user__in=[live.ada.user.pk, live.carl.user.pk]):
                change(live.boss, member, role=Role.OWNER)
            ids = list(members.filter(role=Role.OWNER).order_by("pk").values_list("pk", flat=True))
        token = token_of(live.boss)

        def demote(pk, token=token):
            return lambda: ApiClient(token).patch(f"/members/{pk}", {"role": "member"})

        statuses = [r.status_code for r in at_once(*map(demote, ids))]

        assert sorted(statuses) == [200, 409]


def test_versions_have_no_gaps_and_before_is_the_truth(live):
    def rename(thread):
        def work():
            for number in range(8):
                with inside(live.acme):
                    task = Task.objects.get(pk=live.task.pk)
                    change(live.ada, task, title=f"{thread}-{number}")

        return work

    at_once(*map(rename, range(4)))

    with inside(live.acme):
        assert Task.objects.get().version == 33
        events = Event.objects.filter(subject_type="task", verb="changed").order_by("id")
        titles = [e.changes["title"] for e in events]
    assert [before for before, _ in titles] == ["Launch", *(after for _, after in titles[:-1])]


def test_edits_of_different_fields_are_both_kept(live):
    token = token_of(live.ada)
    for number in range(5):
        at_once(
            lambda number=number: ApiClient(token).patch("/tasks/APO-1", {"title": f"t{number}"}),
            lambda number=number: ApiClient(token).patch(
                "/tasks/APO-1", {"description": f"d{number}"}
            ),
        )
        task = ApiClient(token).get("/tasks/APO-1").json()
        assert (task["title"], task["description"]) == (f"t{number}", f"d{number}")


def test_a_row_deleted_meanwhile_is_not_found(live):
    with inside(live.acme):
        stale = Task.objects.get()
    assert ApiClient(token_of(live.ada)).delete("/tasks/APO-1").status_code == 204

    assert (
        ApiClient(token_of(live.ada)).patch(f"/tasks/{stale.pk}", {"title": "x"}).status_code == 404
    )
