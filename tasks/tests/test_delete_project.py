from __future__ import annotations

from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task
from tasks.models import Project, Task


def test_deleted_project_is_in_the_trash_with_its_rows(world, as_, events):
    with inside(world.acme):
        other = create_project(world.ada, name="Other")
        kept = create_task(world.ada, other, title="kept", blocked_by=[world.task])

    r = as_(world.ada).delete("/projects/APO")

    assert (r.status_code, r.content) == (204, b"")
    client = as_(world.ada)
    for path in ("/projects/APO", "/projects/APO/members", "/tasks/APO-1"):
        assert client.get(path).status_code == 404
    assert [p["id"] for p in client.get("/projects").json()["data"]] == [other.pk]
    assert [t["id"] for t in client.get("/tasks").json()["data"]] == [kept.pk]
    assert [t["id"] for t in as_(world.boss).get("/tasks").json()["data"]] == [kept.pk]
    assert client.get(f"/tasks/{kept.pk}").json()["blocked_by"] == []
    with inside(world.acme):
        assert list(Project.objects.all()) == [other]
    (gone,) = events(world.acme, verb="deleted")
    assert (gone.subject_type, gone.project_id) == ("project", world.apollo.pk)
    assert gone.changes.keys() == {"deleted_at"}


def test_key_of_a_deleted_project_stays_taken(world, as_):
    client = as_(world.ada)
    client.delete("/projects/APO")

    r = client.post("/projects", {"name": "Again", "key": "APO"})

    assert (r.status_code, "maybe one in the trash" in r.json()["detail"]) == (409, True)
    assert client.post("/projects", {"name": "Apollo"}).json()["key"] == "APOA"


def test_deleted_project_accepts_no_rows(world, as_):
    client = as_(world.ada)
    client.delete("/projects/APO")

    for body in ({"project_id": world.apollo.pk, "title": "x"},):
        assert client.post("/tasks", body).status_code == 422
    assert client.patch("/tasks/APO-1", {"title": "x"}).status_code == 404


def test_user_who_is_no_owner_is_refused(world, as_):
    for actor in (world.carl, world.bob, world.bot):
        assert as_(actor).delete("/projects/APO").status_code == 403
    with inside(world.acme):
        assert (Project.objects.count(), Task.objects.count()) == (1, 1)


def test_project_of_a_non_member_is_not_found(world, as_):
    for actor in (world.eve, world.mallory):
        assert as_(actor).delete(f"/projects/{world.apollo.pk}").status_code == 404
