from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.tags import create_tag

pytestmark = pytest.mark.one_database


@pytest.fixture
def tag(fixtures):
    with inside(fixtures.acme):
        create_tag(fixtures.ada, name="other")
        return create_tag(fixtures.ada, name="urgent", color="#111111")


@pytest.mark.parametrize("method", ["patch", "put"])
@pytest.mark.parametrize("change", [{"name": "hot"}, {"color": "#000000"}, {"color": None}])
def test_sent_fields_are_changed_and_recorded(fixtures, as_, tag, events, method, change):
    r = getattr(as_(fixtures.boss), method)(f"/tags/{tag.pk}", change)

    before = {"name": "urgent", "color": "#111111"}
    assert r.status_code == 200
    assert {k: r.json()[k] for k in before} == before | change
    event = events(fixtures.acme, subject_type="tag")[-1]
    assert event.changes == {k: [before[k], v] for k, v in change.items()}


def test_changed_tag_is_shown_on_tasks(fixtures, as_, tag):
    as_(fixtures.bob).patch("/tasks/APO-1", {"tags": ["urgent"]})

    as_(fixtures.boss).patch(f"/tags/{tag.pk}", {"name": "hot"})

    assert as_(fixtures.bob).get("/tasks/APO-1").json()["tags"][0]["name"] == "hot"


def test_name_of_the_tag_can_change_its_case(fixtures, as_, tag):
    assert as_(fixtures.boss).patch(f"/tags/{tag.pk}", {"name": "URGENT"}).status_code == 200


def test_taken_name_is_a_conflict(fixtures, as_, tag):
    r = as_(fixtures.boss).patch(f"/tags/{tag.pk}", {"name": "OTHER", "color": None})

    assert (r.status_code, r.json()["code"]) == (409, "taken")


@pytest.mark.parametrize("body", [{"name": None}, {"name": ""}, {"color": "red"}, {"tenant_id": 2}])
def test_invalid_body_is_refused(fixtures, as_, tag, body):
    assert as_(fixtures.boss).patch(f"/tags/{tag.pk}", body).status_code == 422


def test_user_who_is_no_administrator_is_refused(fixtures, as_, tag):
    for actor in (fixtures.ada, fixtures.eve):
        assert as_(actor).patch(f"/tags/{tag.pk}", {"name": "x"}).status_code == 403


def test_row_of_another_tenant_is_not_found(fixtures, as_, tag):
    assert as_(fixtures.mallory).patch(f"/tags/{tag.pk}", {"name": "x"}).status_code == 404
