from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.members import remove_member
from tasks.models import Project, ProjectMember

pytestmark = pytest.mark.one_database


@pytest.fixture
def ids(fixtures):
    """Memberships by handle."""
    with inside(fixtures.acme):
        return dict(ProjectMember.objects.values_list("user__handle", "pk"))


def test_removing_a_member_deletes_the_membership_and_records_it(fixtures, as_, events, ids):
    r = as_(fixtures.carl).delete(f"/members/{ids['bob']}")

    assert (r.status_code, r.content) == (204, b"")
    assert as_(fixtures.bob).get("/tasks/APO-1").status_code == 404
    event = events(fixtures.acme, subject_type="projectmember")[-1]
    assert (event.verb, event.subject_id, event.project_id) == (
        "left",
        ids["bob"],
        fixtures.apollo.pk,
    )
    assert event.changes["user"] == [fixtures.bob.user.pk, None]
    assert as_(fixtures.carl).delete(f"/members/{ids['bob']}").status_code == 404


@pytest.mark.parametrize("who", ["carl", "bob", "bot"])
def test_member_can_leave(fixtures, as_, ids, who):
    client = as_(getattr(fixtures, who))

    assert client.delete(f"/members/{ids[who]}").status_code == 204
    assert client.get("/projects/APO").status_code == 404


@pytest.mark.parametrize(
    ("who", "whom", "status"),
    [("bob", "bot", 403), ("bob", "ada", 403), ("carl", "ada", 403), ("boss", "carl", 204)],
)
def test_removing_a_member_requires_a_role_above_theirs(fixtures, as_, ids, who, whom, status):
    assert as_(getattr(fixtures, who)).delete(f"/members/{ids[whom]}").status_code == status


@pytest.mark.parametrize("who", ["ada", "boss"])
def test_last_owner_cannot_be_removed(fixtures, as_, ids, events, who):
    client = as_(getattr(fixtures, who))
    count = len(events(fixtures.acme))

    r = client.delete(f"/members/{ids['ada']}")

    assert r.status_code == 409
    assert len(events(fixtures.acme)) == count


def test_another_owner_takes_over_when_the_owner_leaves(fixtures, as_, ids, events):
    as_(fixtures.ada).patch(f"/members/{ids['bob']}", {"role": "owner"})

    assert as_(fixtures.ada).delete(f"/members/{ids['ada']}").status_code == 204
    with inside(fixtures.acme):
        assert Project.objects.get().owner_id == fixtures.bob.user.pk
    passed, left, _unassigned = events(fixtures.acme)[-3:]
    assert passed.changes == {"owner": [fixtures.ada.user.pk, fixtures.bob.user.pk]}
    assert left.verb == "left"
    assert as_(fixtures.bob).delete(f"/members/{ids['bob']}").status_code == 409


def test_role_is_checked_after_it_was_locked(fixtures, as_, ids):
    """Bob was made owner, and Ada left, after Bob's membership was read."""
    with inside(fixtures.acme):
        stale = ProjectMember.objects.select_related("project").get(pk=ids["bob"])
    as_(fixtures.ada).patch(f"/members/{ids['bob']}", {"role": "owner"})
    as_(fixtures.ada).delete(f"/members/{ids['ada']}")

    with inside(fixtures.acme), pytest.raises(Exception, match="last active owner"):
        remove_member(fixtures.bob, stale)


def test_project_of_a_non_member_is_not_found(fixtures, as_, ids):
    for actor in (fixtures.eve, fixtures.mallory):
        assert as_(actor).delete(f"/members/{ids['bob']}").status_code == 404


def test_removing_a_member_unassigns_the_open_tasks_in_that_project(fixtures, as_, events):
    boss, bob = as_(fixtures.boss), fixtures.bob.user.pk
    other = boss.post("/projects", {"name": "Other", "key": "OTH"}).json()["id"]
    boss.post("/projects/OTH/members", {"user_id": bob})
    new = {"title": "x", "assignee_id": bob}
    open_task = boss.post("/tasks", new | {"project_id": fixtures.apollo.pk}).json()["key"]
    done = boss.post("/tasks", new | {"project_id": fixtures.apollo.pk, "status": "done"}).json()[
        "key"
    ]
    elsewhere = boss.post("/tasks", new | {"project_id": other}).json()["key"]
    members = boss.get("/projects/APO/members").json()["data"]
    membership = next(m["id"] for m in members if m["user"]["id"] == bob)

    r = boss.delete(f"/members/{membership}", headers={"Prefer": "return=representation"})

    assert (r.status_code, r.json()) == (200, {"tasks_unassigned": 1})
    assignees = {key: boss.get(f"/tasks/{key}").json()["assignee"] for key in (done, elsewhere)}
    assert boss.get(f"/tasks/{open_task}").json()["assignee"] is None
    assert all(user["id"] == bob for user in assignees.values())
    assert events(fixtures.acme, subject_type="task")[-1].verb == "unassigned"


def test_administrator_who_leaves_a_project_keeps_the_tasks(fixtures, as_):
    boss = as_(fixtures.boss)
    user = fixtures.boss.user.pk
    membership = boss.post("/projects/APO/members", {"user_id": user}).json()["id"]
    boss.patch("/tasks/APO-1", {"assignee_id": user})

    assert boss.delete(f"/members/{membership}").status_code == 204
    assert boss.get("/tasks/APO-1").json()["assignee"]["id"] == user
