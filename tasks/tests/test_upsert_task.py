from __future__ import annotations

from urllib.parse import quote

import pytest


def put(client, ref="r", **body):
    return client.put(f"/projects/APO/tasks/by-ref/{quote(ref)}", body)


def test_it_makes_a_task_then_changes_it(world, as_, events):
    client = as_(world.bob)

    made, changed = put(client, title="a", tags=["t"]), put(client, status="in_progress")

    assert (made.status_code, changed.status_code) == (201, 200)
    assert made.headers["Location"] == f"/api/v1/tasks/{made.json()['id']}"
    same = ("id", "title", "external_ref", "tags")
    assert [made.json()[n] for n in same] == [changed.json()[n] for n in same]
    assert (changed.json()["status"], changed.json()["version"]) == ("in_progress", 2)
    assert put(client, status="in_progress").json()["version"] == 2
    assert len(events(world.acme, subject_type="task", subject_id=made.json()["id"])) == 2


def test_a_new_one_needs_a_title(world, as_):
    r = put(as_(world.bob))

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/title")


@pytest.mark.parametrize("ref", ["a/b", "x y", "ü#?", "by-ref/1", "x" * 255])
def test_any_text_may_be_a_ref(world, as_, ref):
    assert put(as_(world.bob), ref, title="x").json()["external_ref"] == ref


def test_too_long_a_ref_is_refused(world, as_):
    assert put(as_(world.bob), "x" * 256, title="x").status_code == 422


def test_the_ref_does_not_change_by_the_body(world, as_):
    assert put(as_(world.bob), title="x", external_ref="other").status_code == 422


def test_one_in_the_trash_is_named(world, as_):
    client = as_(world.bob)
    client.delete(f"/tasks/{put(client, title='x').json()['id']}")

    r = put(client, title="x")

    assert (r.status_code, "is in the trash. Restore it first." in r.json()["detail"]) == (
        409,
        True,
    )


def test_it_hides_other_projects(world, as_):
    for actor in (world.eve, world.mallory):
        assert put(as_(actor), title="x").status_code == 404
