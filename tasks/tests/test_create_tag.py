from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.models import Tag


def test_creating_a_tag_stores_and_records_it(world, as_, events):
    r = as_(world.bob).post("/tags", {"name": " Urgent ", "color": "#d73A4a"})

    assert (r.status_code, r.json()["name"], r.json()["color"]) == (201, "Urgent", "#d73A4a")
    assert r.headers["ETag"]
    event = events(world.acme, subject_type="tag")[-1]
    assert (event.verb, event.project_id) == ("created", None)
    assert event.changes == {"name": [None, "Urgent"], "color": [None, "#d73A4a"]}


def test_color_is_optional(world, as_):
    assert as_(world.bob).post("/tags", {"name": "plain"}).json()["color"] is None
    assert as_(world.bob).post("/tags", {"name": "null", "color": None}).json()["color"] is None


@pytest.mark.parametrize(("name", "again"), [("Urgent", "uRGENT"), ("Ärger", "äRGER")])
def test_name_in_another_case_is_a_conflict(world, as_, name, again):
    as_(world.bob).post("/tags", {"name": name})

    r = as_(world.ada).post("/tags", {"name": again})

    assert (r.status_code, r.json()["code"]) == (409, "taken")
    assert r.json()["detail"] == "A tag of this name exists; case does not count."
    assert as_(world.mallory).post("/tags", {"name": name}).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"color": "#000000"},
        {"name": ""},
        {"name": "  "},
        {"name": None},
        {"name": 5},
        {"name": "x" * 101},
        {"name": "x", "color": "red"},
        {"name": "x", "color": ""},
        {"name": "x", "color": "#12345"},
        {"name": "x", "color": "#1234567"},
        {"name": "x", "color": "#12345G"},
        {"name": "x", "tenant_id": 2},
        {"name": "x", "id": 2},
    ],
)
def test_invalid_body_is_refused(world, as_, body):
    assert as_(world.ada).post("/tags", body).status_code == 422
    with inside(world.acme):
        assert not Tag.objects.exists()
