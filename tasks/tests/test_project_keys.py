"""Every key that a project can have is accepted wherever a key is."""

from __future__ import annotations

import random
from string import ascii_uppercase, digits

import pytest

from tasks.models.projects import KEY_PATTERN
from tasks.queries.lookup import PROJECT_KEY_PATTERN, TASK_KEY_PATTERN

pytestmark = pytest.mark.one_database

KEYS = ["A1", "B2B", "X000000000", "WEB", "Z9Z9Z9Z9Z9", "E10", "ABCDEFGHIJ"]


def generate_keys(count: int) -> list[str]:
    """Return keys of all lengths, the same ones in each run."""
    generator = random.Random(7)
    return [
        generator.choice(ascii_uppercase)
        + "".join(generator.choices(ascii_uppercase + digits, k=1 + n % 9))
        for n in range(count)
    ]


def test_every_key_is_read_as_a_key():
    for key in [*KEYS, *generate_keys(500)]:
        assert KEY_PATTERN.fullmatch(key)
        for text in (key, key.lower()):
            assert PROJECT_KEY_PATTERN.fullmatch(text)
            assert TASK_KEY_PATTERN.fullmatch(f"{text}-12").groups() == (text, "12")


@pytest.mark.parametrize(
    "text", ["A", "1A", "ABCDEFGHIJK", "A-B", "\u017fA", "\u212aA", "A\n", "A1 "]
)
def test_text_that_no_project_can_have_as_key_is_no_key(text):
    assert not PROJECT_KEY_PATTERN.fullmatch(text)
    assert not TASK_KEY_PATTERN.fullmatch(f"{text}-12")


@pytest.mark.sampled(2)
@pytest.mark.parametrize("key", [*KEYS, *generate_keys(12)])
@pytest.mark.slow
def test_project_is_found_by_its_key_wherever_keys_are_accepted(fixtures, as_, key):
    client = as_(fixtures.ada)
    project = client.post("/projects", {"name": "Keyed", "key": key})
    assert (project.status_code, project.json()["key"]) == (201, key)
    pk = project.json()["id"]
    first, second = (
        client.post("/tasks", {"project_id": pk, "title": title}).json()
        for title in ("Base", "Top")
    )
    client.patch(f"/tasks/{key}-2", {"blocked_by": [first["id"]]})

    def ids(path: str) -> list[int]:
        return [row["id"] for row in client.get(path).json()["data"]]

    for ref in (key, key.lower()):
        assert client.get(f"/projects/{ref}").json()["id"] == pk
        assert client.get(f"/tasks/{ref}-1").json()["id"] == first["id"]
        assert ids(f"/tasks?project={ref}") == [second["id"], first["id"]]
        assert ids(f"/tasks?blocked_by={ref}-1") == [second["id"]]
        assert ids(f"/tasks?q={ref}-1") == [first["id"]]
        assert client.get(f"/search?q={ref}-1").json()["data"][0]["id"] == first["id"]
    rows = f"title,parent\nDoor,{key}-1\n"
    imported = client.post(f"/projects/{key}/tasks.csv", rows, content_type="text/csv")
    assert imported.status_code in (200, 201), imported.content
    assert ids(f"/tasks?parent={key}-1") == [second["id"] + 1]
    operations = [{"op": "complete", "id": f"{key}-3"}]
    assert client.post("/tasks/bulk", {"operations": operations}).status_code == 200
    client.post(f"/tasks/{key}-2/move", {"project_id": fixtures.apollo.pk})
    assert client.get(f"/tasks/{key}-2").json()["id"] == second["id"]
