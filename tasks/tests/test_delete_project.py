from __future__ import annotations

from accounts.tenancy import inside
from tasks.actions.projects import create_project
from tasks.actions.tasks import create_task
from tasks.models import Project, ProjectMember, Tag, Task, TaskTag


def test_it_takes_tasks_and_members_along_on_record(world, as_, events):
    with inside(world.acme):
        other = create_project(world.ada, name="Other")
        kept = create_task(world.ada, other, title="kept", tags=["t"])
        below = create_task(world.ada, world.apollo, title="b", parent=world.task, tags=["t"])

    r = as_(world.ada).delete("/projects/APO")

    assert (r.status_code, r.content) == (204, b"")
    assert as_(world.ada).get("/projects/APO").status_code == 404
    with inside(world.acme):
        assert list(Project.objects.all()) == [other]
        assert list(Task.objects.all()) == [kept]
        assert TaskTag.objects.get().task_id == kept.pk
        assert (ProjectMember.objects.count(), Tag.objects.count()) == (1, 1)
    gone = events(world.acme, verb="deleted")
    assert [e.subject_type for e in gone] == ["task", "task", *["projectmember"] * 4, "project"]
    assert [e.subject_id for e in gone[:2]] == [world.task.pk, below.pk]
    assert {e.project_id for e in gone} == {world.apollo.pk}
    assert {e.request_id for e in gone} == {r.headers["X-Request-Id"]}
    assert gone[-1].changes["name"] == ["Apollo", None]


def test_it_refuses_who_is_no_owner(world, as_):
    for actor in (world.carl, world.bob, world.bot):
        assert as_(actor).delete("/projects/APO").status_code == 403
    with inside(world.acme):
        assert (Project.objects.count(), Task.objects.count()) == (1, 1)


def test_it_hides_other_projects(world, as_):
    for actor in (world.eve, world.mallory):
        assert as_(actor).delete(f"/projects/{world.apollo.pk}").status_code == 404


def test_it_costs_the_same_for_many(world, as_, assert_statements):
    client = as_(world.ada)
    client.get("/me")  # notes the token's first use
    for key, amount in (("FEW", 3), ("MANY", 30)):
        with inside(world.acme):
            project = create_project(world.ada, name=key, key=key)
            for number in range(amount):
                create_task(world.ada, project, title=str(number), tags=["t"])
        # token; project; role; lock
        # tasks: lock, tags, what hangs on them (2), delete, events
        # members: lock, again, delete, events
        # the project: lock, members, what hangs on it (2), delete, event
        with assert_statements(20):
            assert client.delete(f"/projects/{key}").status_code == 204
