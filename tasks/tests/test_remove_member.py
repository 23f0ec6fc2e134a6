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


def test_it_works(world, as_, events, ids):
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
def test_one_may_leave_by_oneself(world, as_, ids, who):
    client = as_(getattr(world, who))

    assert client.delete(f"/members/{ids[who]}").status_code == 204
    assert client.get("/projects/APO").status_code == 404


@pytest.mark.parametrize(
    ("who", "whom", "status"),
    [("bob", "bot", 403), ("bob", "ada", 403), ("carl", "ada", 403), ("boss", "carl", 204)],
)
def test_only_owners_remove_owners_and_members_nobody(world, as_, ids, who, whom, status):
    assert as_(getattr(world, who)).delete(f"/members/{ids[whom]}").status_code == status


@pytest.mark.parametrize("who", ["ada", "boss"])
def test_it_refuses_the_last_owner(world, as_, ids, events, who):
    client = as_(getattr(world, who))
    count = len(events(world.acme))

    r = client.delete(f"/members/{ids['ada']}")

    assert r.status_code == 409
    assert len(events(world.acme)) == count


def test_a_leaving_owner_passes_the_project_on(world, as_, ids, events):
    as_(world.ada).patch(f"/members/{ids['bob']}", {"role": "owner"})

    assert as_(world.ada).delete(f"/members/{ids['ada']}").status_code == 204
    with inside(world.acme):
        assert Project.objects.get().owner_id == world.bob.user.pk
    passed, left = events(world.acme)[-2:]
    assert passed.changes == {"owner": [world.ada.user.pk, world.bob.user.pk]}
    assert left.verb == "left"
    assert as_(world.bob).delete(f"/members/{ids['bob']}").status_code == 409


def test_it_judges_by_the_role_held_now(world, as_, ids):
    """Bob was made owner, and Ada left, after his membership was read."""
    with inside(world.acme):
        stale = ProjectMember.objects.select_related("project").get(pk=ids["bob"])
    as_(world.ada).patch(f"/members/{ids['bob']}", {"role": "owner"})
    as_(world.ada).delete(f"/members/{ids['ada']}")

    with inside(world.acme), pytest.raises(Exception, match="last owner"):
        remove_member(world.bob, stale)


def test_it_hides_other_projects(world, as_, ids):
    for actor in (world.eve, world.mallory):
        assert as_(actor).delete(f"/members/{ids['bob']}").status_code == 404
