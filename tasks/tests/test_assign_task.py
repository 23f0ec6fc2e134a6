from __future__ import annotations

from accounts.actions.users import update_user
from taskflow.tenancy import inside


def assign(client, user):
    return client.post("/tasks/APO-1/assignment", {"assignee_id": user.pk})


def test_assigning_a_task_sets_the_assignee_and_records_it(fixtures, as_, events):
    r = assign(as_(fixtures.bot), fixtures.bob.user)

    assert (r.status_code, r.json()["assignee"]["handle"]) == (200, "bob")
    (event,) = events(fixtures.acme, verb="assigned")
    assert event.changes == {"assignee": [fixtures.ada.user.pk, fixtures.bob.user.pk]}


def test_assigning_to_the_same_user_changes_nothing(fixtures, as_, events):
    assert assign(as_(fixtures.bob), fixtures.ada.user).json()["version"] == 1
    assert not events(fixtures.acme, verb="assigned")


def test_unassigning_removes_the_assignee(fixtures, as_, events):
    r = as_(fixtures.bob).delete("/tasks/APO-1/assignment")

    assert (r.status_code, r.json()["assignee"]) == (200, None)
    assert events(fixtures.acme, verb="unassigned")[0].changes == {
        "assignee": [fixtures.ada.user.pk, None]
    }


def test_assigning_to_a_non_member_is_refused(fixtures, as_):
    client = as_(fixtures.ada)
    with inside(fixtures.acme):
        update_user(fixtures.boss, fixtures.carl.user, is_active=False)

    assert assign(client, fixtures.boss.user).status_code == 200
    for user in (fixtures.eve.user, fixtures.carl.user, fixtures.mallory.user):
        r = assign(client, user)
        assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/assignee_id")
