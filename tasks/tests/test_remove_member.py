from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.members import remove_member
from tasks.models import Project, ProjectMember


@pytest.fixture
def ids(world):
    """Memberships by handle."""
    with inside(world.acme):
        return dict(ProjectMember.objects.values_list("user__handle", "pk"))


def test_removing_a_member_deletes_the_membership_and_records_it(world, as_, events, ids):
    r = as_(world.carl).delete(f"/members/{ids['bob']}")

    assert (r.status_code, r.content) == (204, b"")
    assert as_(world.bob).get("/tasks/APO-1").status_code == 404
    event = events(world.acme, subject_type="projectmember")[-1]
    assert (event.verb, event.subject_id, event.project_id) == (
        "left",
        ids["bob"],
        world.apollo.pk,
    )
    assert event.changes["user"] == [world.bob.user.pk, None]
    assert as_(world.carl).delete(f"/members/{ids['bob']}").status_code == 404


@pytest.mark.parametrize("who", ["carl", "bob", "bot"])
def test_member_can_leave(world, as_, ids, who):
    client = as_(getattr(world, who))

    assert client.delete(f"/members/{ids[who]}").status_code == 204
    assert client.get("/projects/APO").status_code == 404


@pytest.mark.parametrize(
    ("who", "whom", "status"),
    [("bob", "bot", 403), ("bob", "ada", 403), ("carl", "ada", 403), ("boss", "carl", 204)],
)
def test_removing_a_member_requires_a_role_above_theirs(world, as_, ids, who, whom, status):
    assert as_(getattr(world, who)).delete(f"/members/{ids[whom]}").status_code == status


@pytest.mark.parametrize("who", ["ada", "boss"])
def test_last_owner_cannot_be_removed(world, as_, ids, events, who):
    client = as_(getattr(world, who))
    count = len(events(world.acme))

    r = client.delete(f"/members/{ids['ada']}")

    assert r.status_code == 409
    assert len(events(world.acme)) == count


def test_another_owner_takes_over_when_the_owner_leaves(world, as_, ids, events):
    as_(world.ada).patch(f"/members/{ids['bob']}", {"role": "owner"})

    assert as_(world.ada).delete(f"/members/{ids['ada']}").status_code == 204
    with inside(world.acme):
        assert Project.objects.get().owner_id == world.bob.user.pk
    passed, left = events(world.acme)[-2:]
    assert passed.changes == {"owner": [world.ada.user.pk, world.bob.user.pk]}
    assert left.verb == "left"
    assert as_(world.bob).delete(f"/members/{ids['bob']}").status_code == 409


def test_role_is_checked_after_it_was_locked(world, as_, ids):
    """Bob was made owner, and Ada left, after Bob's membership was read."""
    with inside(world.acme):
        stale = ProjectMember.objects.select_related("project").get(pk=ids["bob"])
    as_(world.ada).patch(f"/members/{ids['bob']}", {"role": "owner"})
    as_(world.ada).delete(f"/members/{ids['ada']}")

    with inside(world.acme), pytest.raises(Exception, match="last owner"):
        remove_member(world.bob, stale)


def test_project_of_a_non_member_is_not_found(world, as_, ids):
    for actor in (world.eve, world.mallory):
        assert as_(actor).delete(f"/members/{ids['bob']}").status_code == 404
