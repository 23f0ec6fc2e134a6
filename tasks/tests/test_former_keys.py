"""A key that was once given finds the same project, and the same tasks, for ever."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.models import ProjectKey

pytestmark = pytest.mark.one_database


@pytest.fixture
def renamed(fixtures, as_):
    """Apollo had the key APO and has the key NEW."""
    as_(fixtures.ada).patch("/projects/APO", {"key": "NEW"})
    return fixtures


@pytest.mark.parametrize("who", ["ada", "bob", "boss"])
def test_former_key_of_a_project_finds_it(renamed, as_, who):
    client = as_(getattr(renamed, who))

    assert client.get("/projects/APO").json()["key"] == "NEW"
    assert client.get("/projects/apo/members").status_code == 200
    assert [t["key"] for t in client.get("/tasks?project=APO").json()["data"]] == ["NEW-1"]
    listed = client.get("/tasks?project=APO&project=NEW").json()["data"]
    assert [t["key"] for t in listed] == ["NEW-1"]
    assert client.get("/pages?project=APO").status_code == 200


@pytest.mark.parametrize("who", ["ada", "bob", "boss"])
def test_task_is_found_by_its_number_with_a_former_key_of_the_project(renamed, as_, who):
    client = as_(getattr(renamed, who))

    assert client.get("/tasks/APO-1").json()["key"] == "NEW-1"
    assert client.get("/tasks/apo-1/events").status_code == 200
    assert client.patch("/tasks/APO-1", {"title": "Found"}).status_code == 200
    operation = {"op": "tag", "id": "APO-1", "data": {"tags": ["x"]}}
    assert client.post("/tasks/bulk", {"operations": [operation]}).status_code == 200


@pytest.mark.parametrize("key", ["APO-1", "apo-1", "NEW-1", " APO-1 "])
def test_search_finds_a_task_by_any_of_its_keys(renamed, as_, key):
    client = as_(renamed.bob)

    assert [t["key"] for t in client.get("/tasks", {"q": key}).json()["data"]] == ["NEW-1"]
    assert client.get("/search", {"q": key}).json()["data"][0]["title"] == "Launch"


def test_task_that_moved_before_the_key_changed_is_found_by_each_former_key(fixtures, as_):
    client = as_(fixtures.ada)
    other = client.post("/projects", {"name": "Other", "key": "OTH"}).json()["id"]
    client.post(f"/tasks/{fixtures.task.pk}/move", {"project_id": other})
    client.patch("/projects/APO", {"key": "NEW"})
    client.patch("/projects/OTH", {"key": "OTHER"})

    for key in ("APO-1", "NEW-1", "OTH-1", "OTHER-1"):
        assert client.get(f"/tasks/{key}").json()["key"] == "OTHER-1"
        assert [t["key"] for t in client.get(f"/tasks?q={key}").json()["data"]] == ["OTHER-1"]


def test_former_key_is_refused_for_another_project(renamed, as_):
    client = as_(renamed.ada)
    other = client.post("/projects", {"name": "Other", "key": "OTH"}).json()["id"]

    created = client.post("/projects", {"name": "Apogee", "key": "APO"})
    changed = client.patch(f"/projects/{other}", {"key": "APO"})

    for r in (created, changed):
        assert (r.status_code, r.json()["code"]) == (409, "taken")
        assert "APO" in r.json()["detail"]


def test_derived_key_is_never_a_former_key(renamed, as_):
    r = as_(renamed.ada).post("/projects", {"name": "Apollo"})

    assert r.status_code == 201
    assert r.json()["key"] not in ("APO", "NEW")


def test_project_takes_its_former_key_again(renamed, as_):
    client = as_(renamed.ada)

    assert client.patch("/projects/NEW", {"key": "APO"}).json()["key"] == "APO"
    assert client.get("/projects/NEW").json()["key"] == "APO"
    with inside(renamed.acme):
        assert sorted(ProjectKey.objects.values_list("key", flat=True)) == ["APO", "NEW"]


def test_undo_of_a_new_key_keeps_both_keys(fixtures, as_):
    client = as_(fixtures.ada)
    request_id = client.patch("/projects/APO", {"key": "NEW"}).headers["X-Request-Id"]

    assert client.post("/undo", {"request_id": request_id}).status_code == 200
    assert client.get("/projects/NEW").json()["key"] == "APO"


def test_key_of_a_permanently_deleted_project_is_not_given_again(fixtures, as_):
    client = as_(fixtures.ada)
    client.delete("/projects/APO")
    client.delete(f"/trash/project/{fixtures.apollo.pk}")

    r = client.post("/projects", {"name": "Apollo", "key": "APO"})

    assert (r.status_code, r.json()["code"]) == (409, "taken")
    assert client.get("/projects/APO").status_code == 404


def test_former_key_shows_nothing_to_others(renamed, as_):
    for actor in (renamed.eve, renamed.mallory):
        client = as_(actor)
        assert client.get("/projects/APO").status_code == 404
        assert client.get("/tasks/APO-1").status_code == 404
        assert client.get("/tasks?project=APO").status_code == 422
        assert client.get("/tasks?q=APO-1").json()["data"] == []


def test_key_may_contain_digits_after_the_first_letter(fixtures, as_):
    client = as_(fixtures.ada)

    assert client.post("/projects", {"name": "x", "key": "W3C"}).status_code == 201
    assert client.post("/projects", {"name": "x", "key": "3DX"}).status_code == 422
    assert client.get("/projects/w3c").json()["key"] == "W3C"
