from __future__ import annotations

from accounts.actions.users import update_user
from taskflow.tenancy import inside


def assign(client, user):
    return client.post("/tasks/APO-1/assignment", {"assignee_id": user.pk})


def test_assigning_a_task_sets_the_assignee_and_records_it(world, as_, events):
    r = assign(as_(world.bot), world.bob.user)

    assert (r.status_code, r.json()["assignee"]["handle"]) == (200, "bob")
    (event,) = events(world.acme, verb="assigned")
    assert event.changes == {"assignee": [world.ada.user.pk, world.bob.user.pk]}


def test_assigning_to_the_same_user_changes_nothing(world, as_, events):
    assert assign(as_(world.bob), world.ada.user).json()["version"] == 1
    assert not events(world.acme, verb="assigned")


def test_unassigning_removes_the_assignee(world, as_, events):
    r = as_(world.bob).delete("/tasks/APO-1/assignment")

    assert (r.status_code, r.json()["assignee"]) == (200, None)
    assert events(world.acme, verb="unassigned")[0].changes == {
        "assignee": [world.ada.user.pk, None]
    }


def test_assigning_to_a_non_member_is_refused(world, as_):
    client = as_(world.ada)
    with inside(world.acme):
        update_user(world.boss, world.carl.user, is_active=False)

    assert assign(client, world.boss.user).status_code == 200
    for user in (world.eve.user, world.carl.user, world.mallory.user):
        r = assign(client, user)
        assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/assignee_id")
