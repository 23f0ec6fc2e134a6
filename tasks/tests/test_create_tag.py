from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.models import Tag

pytestmark = pytest.mark.one_database


def test_creating_a_tag_stores_and_records_it(fixtures, as_, events):
    r = as_(fixtures.bob).post("/tags", {"name": " Urgent ", "color": "#d73A4a"})

    assert (r.status_code, r.json()["name"], r.json()["color"]) == (201, "Urgent", "#d73A4a")
    assert r.headers["ETag"]
    event = events(fixtures.acme, subject_type="tag")[-1]
    assert (event.verb, event.project_id) == ("created", None)
    assert event.changes == {"name": [None, "Urgent"], "color": [None, "#d73A4a"]}


def test_color_is_optional(fixtures, as_):
    assert as_(fixtures.bob).post("/tags", {"name": "plain"}).json()["color"] is None
    assert as_(fixtures.bob).post("/tags", {"name": "null", "color": None}).json()["color"] is None


@pytest.mark.parametrize(("name", "again"), [("Urgent", "uRGENT"), ("Ärger", "äRGER")])
def test_name_in_another_case_is_a_conflict(fixtures, as_, name, again):
    as_(fixtures.bob).post("/tags", {"name": name})

    r = as_(fixtures.ada).post("/tags", {"name": again})

    assert (r.status_code, r.json()["code"]) == (409, "taken")
    assert r.json()["detail"] == "A tag of this name exists; case does not count."
    assert as_(fixtures.mallory).post("/tags", {"name": name}).status_code == 201


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
def test_invalid_body_is_refused(fixtures, as_, body):
    assert as_(fixtures.ada).post("/tags", body).status_code == 422
    with inside(fixtures.acme):
        assert not Tag.objects.exists()
