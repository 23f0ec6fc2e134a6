"""The filter q of projects, users and tags: a part of a name, in any case."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag


@pytest.mark.parametrize(
    ("text", "keys"),
    [("ärger", ["AER"]), ("ÄRG", ["AER"]), ("ae", ["AER"]), ("po", ["APO"]), ("%", []), ("_", []),
     ("e", ["AER"]), ("a", ["AER", "APO"])],
)  # fmt: skip
def test_projects_are_found_by_a_part_of_name_or_key(fixtures, as_, text, keys):
    with inside(fixtures.acme):
        create_project(fixtures.ada, name="Großer Ärger", key="AER")

    data = as_(fixtures.ada).get("/projects", {"q": text}).json()["data"]

    assert sorted(row["key"] for row in data) == keys


def test_project_of_a_non_member_is_not_found_by_its_name(fixtures, as_):
    assert as_(fixtures.eve).get("/projects?q=apollo").json()["data"] == []


@pytest.mark.parametrize(
    ("text", "names"),
    [("ug", ["Bug", "plugin"]), ("BUG", ["Bug"]), ("100%", ["100%"]), ("%", ["100%"]), ("x", [])],
)
def test_tags_are_found_by_a_part_of_the_name(fixtures, as_, text, names):
    with inside(fixtures.acme):
        for name in ("Bug", "plugin", "100%"):
            create_tag(fixtures.ada, name=name)

    data = as_(fixtures.bob).get("/tags", {"q": text}).json()["data"]

    assert sorted(row["name"] for row in data) == sorted(names)


def test_users_are_found_by_a_part_of_handle_or_full_name(fixtures, as_):
    client = as_(fixtures.boss)
    pk = fixtures.ada.user.pk
    client.patch(f"/users/{pk}", {"full_name": "Ada Lovelace"})

    for text in ("ADA", "love", "a l"):
        found = [row["id"] for row in client.get("/users", {"q": text}).json()["data"]]
        assert pk in found, text
    assert client.get("/users?q=nobody").json()["data"] == []
    assert client.get("/users?q=").status_code == 422
