from __future__ import annotations

from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task
from tasks.models import Project, Task


def test_deleted_project_is_in_the_trash_with_its_rows(fixtures, as_, events):
    with inside(fixtures.acme):
        other = create_project(fixtures.ada, name="Other")
        kept = create_task(fixtures.ada, other, title="kept", blocked_by=[fixtures.task])

    r = as_(fixtures.ada).delete("/projects/APO")

    assert (r.status_code, r.content) == (204, b"")
    client = as_(fixtures.ada)
    for path in ("/projects/APO", "/projects/APO/members", "/tasks/APO-1"):
        assert client.get(path).status_code == 404
    assert [p["id"] for p in client.get("/projects").json()["data"]] == [other.pk]
    assert [t["id"] for t in client.get("/tasks").json()["data"]] == [kept.pk]
    assert [t["id"] for t in as_(fixtures.boss).get("/tasks").json()["data"]] == [kept.pk]
    assert client.get(f"/tasks/{kept.pk}").json()["blocked_by"] == []
    with inside(fixtures.acme):
        assert list(Project.objects.all()) == [other]
    (gone,) = events(fixtures.acme, verb="deleted")
    assert (gone.subject_type, gone.project_id) == ("project", fixtures.apollo.pk)
    assert gone.changes.keys() == {"deleted_at"}


def test_key_of_a_deleted_project_stays_taken(fixtures, as_):
    client = as_(fixtures.ada)
    client.delete("/projects/APO")

    r = client.post("/projects", {"name": "Again", "key": "APO"})

    assert (r.status_code, "maybe one in the trash" in r.json()["detail"]) == (409, True)
    assert client.post("/projects", {"name": "Apollo"}).json()["key"] == "APOA"


def test_deleted_project_accepts_no_rows(fixtures, as_):
    client = as_(fixtures.ada)
    client.delete("/projects/APO")

    for body in ({"project_id": fixtures.apollo.pk, "title": "x"},):
        assert client.post("/tasks", body).status_code == 422
    assert client.patch("/tasks/APO-1", {"title": "x"}).status_code == 404


def test_user_who_is_no_owner_is_refused(fixtures, as_):
    for actor in (fixtures.carl, fixtures.bob, fixtures.bot):
        assert as_(actor).delete("/projects/APO").status_code == 403
    with inside(fixtures.acme):
        assert (Project.objects.count(), Task.objects.count()) == (1, 1)


def test_project_of_a_non_member_is_not_found(fixtures, as_):
    for actor in (fixtures.eve, fixtures.mallory):
        assert as_(actor).delete(f"/projects/{fixtures.apollo.pk}").status_code == 404
