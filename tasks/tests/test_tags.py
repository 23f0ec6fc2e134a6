from __future__ import annotations

import pytest

from accounts.tenancy import inside
from tasks.models import Tag, Task


def test_a_tag_is_unique_without_case(world, as_):
    first = as_(world.bob).post("/tags", {"name": "Urgent", "color": "#D73A4A"})

    again = as_(world.ada).post("/tags", {"name": "uRGENT"})

    assert (first.status_code, first.json()["color"]) == (201, "#D73A4A")
    assert (again.status_code, again.json()["code"]) == (409, "taken")
    assert as_(world.mallory).post("/tags", {"name": "urgent"}).status_code == 201


@pytest.mark.parametrize(
    "body",
    [{"name": ""}, {"name": "x" * 101}, {"name": "x", "color": "red"}, {"name": "x", "color": "#12345"},
     {"name": "x", "color": "#12345G"}, {"color": "#000000"}],
)  # fmt: skip
def test_a_bad_tag_is_refused(world, as_, body):
    assert as_(world.ada).post("/tags", body).status_code == 422


def test_tasks_make_the_tags_they_name(world, as_):
    client = as_(world.bob)
    client.post("/tags", {"name": "Hot"})

    task = client.patch("/tasks/APO-1", {"tags": ["hot", "new", "NEW"]}).json()

    assert [t["name"] for t in task["tags"]] == ["Hot", "NEW"]
    assert [t["name"] for t in client.get("/tags").json()["data"]] == ["Hot", "NEW"]


def test_recolouring_and_deleting_are_recorded(world, as_, events):
    tag = as_(world.bob).patch("/tasks/APO-1", {"tags": ["a"]}).json()["tags"][0]
    boss = as_(world.boss)

    assert boss.patch(f"/tags/{tag['id']}", {"color": "#000000"}).json()["color"] == "#000000"
    assert boss.patch(f"/tags/{tag['id']}", {"color": None}).json()["color"] is None
    assert boss.delete(f"/tags/{tag['id']}").status_code == 204

    assert as_(world.bob).get("/tasks/APO-1").json()["tags"] == []
    last = events(world.acme, subject_type="tag")[-1]
    assert (last.verb, last.changes["tasks"]) == ("deleted", [[world.task.pk], []])
    with inside(world.acme):
        assert Tag.objects.count() == 0
        assert Task.objects.count() == 1
