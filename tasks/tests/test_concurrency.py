"""Concurrent requests in threads, with commits, on both databases."""

from __future__ import annotations

import pytest

from conftest import ApiClient, build_fixtures, token_of
from taskflow.audit.models import Event
from taskflow.audit.recorder import change
from taskflow.tenancy import inside
from taskflow.tests.concurrency import at_once
from tasks.actions.members import add_member
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag
from tasks.changes.tasks import create_task
from tasks.models import Project, ProjectMember, Role, Tag, Task, TaskTag

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def live():
    return build_fixtures()


@pytest.fixture
def call(live):
    """call("patch", path, body) sends a request of the administrator from a thread."""
    token = token_of(live.boss)

    def prepare(method, *args):
        return lambda: getattr(ApiClient(token), method)(*args)

    return prepare


def statuses(*calls):
    return sorted(r.status_code for r in at_once(*calls))


def balance(model, tenant):
    """Return the number of rows, and the number by the event log: created minus deleted."""
    with inside(tenant):
        events = Event.objects.filter(subject_type=model.__name__.lower())
        born = set(
            events.filter(verb__in=["created", "joined"]).values_list("subject_id", flat=True)
        )
        gone = set(events.filter(verb__in=["deleted", "left"]).values_list("subject_id", flat=True))
        return set(model.objects.values_list("pk", flat=True)), born - gone


# ---- numbers and names --------------------------------------------------------------------------


def test_tasks_created_at_once_have_consecutive_numbers(live, call):
    make = call("post", "/tasks", {"project_id": live.apollo.pk, "title": "x"})

    responses = at_once(*[lambda: [make().json()["number"] for _ in range(5)]] * 4)

    assert sorted(n for numbers in responses for n in numbers) == list(range(2, 22))


@pytest.mark.slow
def test_tasks_created_at_once_with_the_same_new_tags_all_have_them(live, call):
    for number in range(4):
        tags = [f"a{number}", f"b{number}", f"c{number}"]
        both_ways = [
            call("post", "/tasks", {"project_id": live.apollo.pk, "title": "x", "tags": names})
            for names in (tags, tags[::-1])
        ]
        responses = at_once(*both_ways * 2)

        assert [r.status_code for r in responses] == [201] * 4
        assert len({t["id"] for r in responses for t in r.json()["tags"]}) == 3
    assert balance(Tag, live.acme)[0] == balance(Tag, live.acme)[1]


def test_same_tag_created_at_once_is_created_once(live, call):
    for number in range(4):
        make = call("post", "/tags", {"name": f"t{number}"})
        assert statuses(make, make, make) == [201, 409, 409]


def test_projects_created_at_once_with_one_name_have_different_keys(live, call):
    responses = at_once(*[call("post", "/projects", {"name": "Zeus"})] * 5)

    assert [r.status_code for r in responses] == [201] * 5
    assert len({r.json()["key"] for r in responses}) == 5


def test_same_project_key_sent_at_once_is_accepted_once(live, call):
    make = call("post", "/projects", {"name": "Zeus", "key": "ZEU"})

    assert statuses(make, make, make) == [201, 409, 409]
    with inside(live.acme):
        assert Project.objects.filter(name="Zeus").count() == 1
    assert balance(ProjectMember, live.acme)[0] == balance(ProjectMember, live.acme)[1]


def test_same_external_ref_sent_at_once_is_accepted_once(live, call):
    body = {"project_id": live.apollo.pk, "title": "x", "external_ref": "r"}
    make = call("post", "/tasks", body)

    assert statuses(make, make, make) == [201, 409, 409]


def test_same_upsert_sent_at_once_creates_one_task(live, call):
    for number in range(4):
        put = call("put", f"/projects/APO/tasks/by-ref/r{number}", {"title": "x"})

        assert statuses(put, put, put) == [200, 200, 201]


# ---- circles ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [10])
def test_two_updates_at_once_cannot_close_a_circle_of_blockers(live, call, rounds):
    for number in range(rounds):
        with inside(live.acme):
            other = create_project(live.ada, name=f"O{number}")
            a = create_task(live.ada, live.apollo, title="a")
            b = create_task(live.ada, other, title="b")

        assert statuses(
            call("patch", f"/tasks/{a.pk}", {"blocked_by": [b.pk]}),
            call("patch", f"/tasks/{b.pk}", {"blocked_by": [a.pk]}),
        ) == [200, 409]


@pytest.mark.slow
def test_bulk_requests_in_opposite_order_do_not_deadlock(live, call):
    with inside(live.acme):
        projects = [live.apollo, create_project(live.ada, name="Other")]
        tasks = [create_task(live.ada, project, title="x") for project in projects]

    def crossing(here, there, tag):
        new = {"project_id": projects[here].pk, "title": "n", "tags": [tag, "both"]}
        return call(
            "post",
            "/tasks/bulk",
            {
                "operations": [
                    {"op": "create", "data": new},
                    {"op": "update", "id": tasks[there].pk, "data": {"external_ref": tag}},
                    {"op": "update", "id": tasks[there].pk, "data": {"blocked_by": []}},
                ]
            },
        )

    for number in range(5):
        both = [crossing(0, 1, f"a{number}"), crossing(1, 0, f"b{number}")]
        assert statuses(*both * 2) == [200] * 4


# ---- owners -------------------------------------------------------------------------------------


@pytest.mark.sampled(1)
@pytest.mark.parametrize("way", ["demote", "remove"])
def test_last_two_owners_cannot_leave_at_once(live, call, way):
    for number in range(4):
        with inside(live.acme):
            project = create_project(live.ada, name=f"P{number}")
            add_member(live.ada, project, user=live.carl.user, role=Role.OWNER)
            members = ProjectMember.objects.filter(project=project)
            paths = [f"/members/{pk}" for pk in members.values_list("pk", flat=True)]
        calls = [
            call("delete", path) if way == "remove" else call("patch", path, {"role": "member"})
            for path in paths
        ]

        assert statuses(*calls) == [204 if way == "remove" else 200, 409]
        with inside(live.acme):
            owner = members.get(role=Role.OWNER)
            assert Project.objects.get(pk=project.pk).owner_id == owner.user_id


def test_project_keeps_an_owner_if_one_leaves_while_another_is_added(live, call):
    for number in range(4):
        with inside(live.acme):
            project = create_project(live.ada, name=f"P{number}")
            member = add_member(live.ada, project, user=live.carl.user, role=Role.OWNER)
        pass_on = call("patch", f"/projects/{project.pk}", {"owner_id": live.bob.user.pk})

        responses = at_once(pass_on, call("delete", f"/members/{member.pk}"))

        assert [r.status_code for r in responses] == [200, 204]
        with inside(live.acme):
            assert Project.objects.get(pk=project.pk).owner_id == live.bob.user.pk


def test_same_member_added_at_once_is_added_once(live, call):
    add = call("post", "/projects/APO/members", {"user_id": live.eve.user.pk})

    assert statuses(add, add, add) == [201, 409, 409]


# ---- subtasks -----------------------------------------------------------------------------------


def test_two_updates_at_once_cannot_close_a_circle_of_parents(live, call):
    for _ in range(4):
        with inside(live.acme):
            a, b = (create_task(live.ada, live.apollo, title=t).pk for t in "ab")

        moves = [call("patch", f"/tasks/{x}", {"parent_id": y}) for x, y in ((a, b), (b, a))]

        assert statuses(*moves) == [200, 409]


def test_two_updates_at_once_cannot_exceed_the_depth_limit(live, call):
    def chain(length):
        tasks = [create_task(live.ada, live.apollo, title="x")]
        while len(tasks) < length:
            tasks.append(create_task(live.ada, live.apollo, title="x", parent=tasks[-1]))
        return tasks

    for _ in range(3):
        with inside(live.acme):
            top, middle, low = chain(2), chain(2), chain(2)
        one = call("patch", f"/tasks/{middle[0].pk}", {"parent_id": top[-1].pk})
        other = call("patch", f"/tasks/{low[0].pk}", {"parent_id": middle[-1].pk})

        assert statuses(one, other) == [200, 422]


# ---- deleting -----------------------------------------------------------------------------------


def test_subtask_added_to_a_task_being_deleted_is_refused_or_recorded(live, call):
    for _ in range(5):
        with inside(live.acme):
            top = create_task(live.ada, live.apollo, title="top")
        body = {"project_id": live.apollo.pk, "title": "x", "parent_id": top.pk}

        responses = at_once(call("post", "/tasks", body), call("delete", f"/tasks/{top.pk}"))

        assert responses[0].status_code in (201, 404, 409, 422)
        assert responses[1].status_code == 204
    assert balance(Task, live.acme)[0] == balance(Task, live.acme)[1]


def test_row_added_to_a_project_being_deleted_is_refused_or_recorded(live, call):
    for number in range(5):
        with inside(live.acme):
            project = create_project(live.ada, name=f"P{number}")
        responses = at_once(
            call("post", "/tasks", {"project_id": project.pk, "title": "x"}),
            call("post", f"/projects/{project.pk}/members", {"user_id": live.bob.user.pk}),
            call("delete", f"/projects/{project.pk}"),
        )

        assert {r.status_code for r in responses[:2]} <= {201, 404, 409, 422}, responses
        assert responses[2].status_code == 204
    for model in (Task, ProjectMember, Project):
        assert balance(model, live.acme)[0] == balance(model, live.acme)[1]


@pytest.mark.slow
def test_deleting_a_tag_records_every_task_that_had_it(live, call):
    for number in range(3):
        with inside(live.acme):
            tag = create_tag(live.ada, name=f"t{number}")
            tasks = [create_task(live.ada, live.apollo, title="x").pk for _ in range(3)]
        tagging = [call("patch", f"/tasks/{pk}", {"tags": [tag.name]}) for pk in tasks]

        responses = at_once(*tagging, call("delete", f"/tags/{tag.pk}"))

        assert responses[-1].status_code == 204
        assert {r.status_code for r in responses} <= {200, 204, 409, 422}
        with inside(live.acme):
            of_tasks = Event.objects.filter(subject_type="task", subject_id__in=tasks)
            tagged = {
                e.subject_id for e in of_tasks if tag.pk in e.changes.get("tags", [[], []])[1]
            }
            gone = Event.objects.get(subject_type="tag", subject_id=tag.pk, verb="deleted")
            assert set(gone.changes.get("tasks", [[]])[0]) == tagged
            assert not TaskTag.objects.filter(tag=tag.pk).exists()


def test_deletion_sent_twice_at_once_is_recorded_once(live, call):
    for _ in range(3):
        with inside(live.acme):
            task = create_task(live.ada, live.apollo, title="x")
        delete = call("delete", f"/tasks/{task.pk}")

        assert set(statuses(delete, delete, delete)) <= {204, 404}
        with inside(live.acme):
            assert Event.objects.filter(subject_id=task.pk, verb="deleted").count() == 1


# ---- changing -----------------------------------------------------------------------------------


def test_updates_of_different_fields_at_once_are_both_stored(live, call):
    for number in range(4):
        edits = [{"title": f"t{number}"}, {"description": f"d{number}"}, {"tags": [f"g{number}"]}]

        assert statuses(*[call("patch", "/tasks/APO-1", e) for e in edits]) == [200] * 3

        task = call("get", "/tasks/APO-1")().json()
        assert (task["title"], task["description"]) == (f"t{number}", f"d{number}")
        assert [t["name"] for t in task["tags"]] == [f"g{number}"]
        assert task["version"] == 1 + 3 * (number + 1)


def test_completion_sent_twice_at_once_is_recorded_once(live, call):
    for _ in range(4):
        with inside(live.acme):
            task = create_task(live.ada, live.apollo, title="x")
        finish = call("post", f"/tasks/{task.pk}/completion")

        responses = at_once(finish, finish, finish)

        assert [r.status_code for r in responses] == [200] * 3
        assert {r.json()["version"] for r in responses} == {2}
        with inside(live.acme):
            assert Event.objects.filter(subject_id=task.pk, verb="completed").count() == 1


def test_completing_and_reopening_at_once_leave_a_consistent_task(live, call):
    path = "/tasks/APO-1"
    for _ in range(4):
        mix = [
            call("post", f"{path}/completion"),
            call("delete", f"{path}/completion"),
            call("patch", path, {"status": "in_progress"}),
            call("patch", path, {"status": "done"}),
        ]
        assert statuses(*mix) == [200] * 4
    task = call("get", path)().json()
    assert (task["status"] == "done") == (task["completed_at"] is not None)
    with inside(live.acme):
        changes = [
            e.changes["status"]
            for e in Event.objects.filter(subject_type="task").order_by("id")
            if "status" in e.changes
        ]
    assert [c[0] for c in changes[1:]] == [c[1] for c in changes[:-1]]


def test_due_on_and_due_date_set_at_once_are_never_both_stored(live, call):
    edits = [{"due_on": "2027-01-01"}, {"due_date": "2027-01-01T00:00:00Z"}]
    for _ in range(4):
        both = [call("patch", "/tasks/APO-1", e) for e in edits]
        assert statuses(*both) == [200, 422]
        call("patch", "/tasks/APO-1", {"due_on": None, "due_date": None})()


def test_row_deleted_before_it_is_locked_is_not_found(live, call):
    with inside(live.acme):
        stale = Task.objects.get()
    assert call("delete", "/tasks/APO-1")().status_code == 204

    with inside(live.acme), pytest.raises(Exception, match="has deleted this object"):
        change(live.ada, stale, title="x")
