from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.models import Project, ProjectMember

pytestmark = pytest.mark.one_database


@pytest.fixture
def ids(fixtures):
    """Memberships by handle."""
    with inside(fixtures.acme):
        return dict(ProjectMember.objects.values_list("user__handle", "pk"))


def set_role(client, member_id, role):
    return client.patch(f"/members/{member_id}", {"role": role})


def test_changing_a_role_stores_and_records_it(fixtures, as_, events, ids):
    r = set_role(as_(fixtures.carl), ids["bob"], "admin")

    assert (r.status_code, r.json()["role"], r.json()["user"]["handle"]) == (200, "admin", "bob")
    event = events(fixtures.acme, subject_type="projectmember")[-1]
    assert (event.verb, event.changes) == ("changed", {"role": ["member", "admin"]})
    assert event.project_id == fixtures.apollo.pk


def test_changing_to_the_same_role_changes_nothing(fixtures, as_, events, ids):
    client = as_(fixtures.ada)
    count = len(events(fixtures.acme))

    assert set_role(client, ids["bob"], "member").status_code == 200
    assert set_role(client, ids["ada"], "owner").status_code == 200
    assert len(events(fixtures.acme)) == count


@pytest.mark.parametrize(
    ("who", "whom", "role", "status"),
    [
        ("ada", "bob", "owner", 200),
        ("boss", "bob", "owner", 200),
        ("carl", "bob", "owner", 403),
        ("carl", "ada", "member", 403),
        ("carl", "ada", "admin", 403),
        ("carl", "carl", "owner", 403),
        ("carl", "carl", "member", 200),
        ("bob", "bob", "admin", 403),
        ("bob", "bot", "admin", 403),
        ("ada", "carl", "member", 200),
    ],
)
def test_only_owners_can_give_and_take_the_role_of_owner(
    fixtures, as_, ids, who, whom, role, status
):
    assert set_role(as_(getattr(fixtures, who)), ids[whom], role).status_code == status


@pytest.mark.parametrize("who", ["ada", "boss"])
@pytest.mark.parametrize("role", ["admin", "member"])
def test_last_owner_cannot_be_demoted(fixtures, as_, ids, events, who, role):
    client = as_(getattr(fixtures, who))
    count = len(events(fixtures.acme))

    r = set_role(client, ids["ada"], role)

    assert (r.status_code, r.json()["code"]) == (409, "conflict")
    assert "last active owner" in r.json()["detail"]
    assert len(events(fixtures.acme)) == count


def test_another_owner_takes_over_from_a_demoted_owner(fixtures, as_, ids):
    client = as_(fixtures.ada)
    set_role(client, ids["bob"], "owner")
    set_role(client, ids["carl"], "owner")

    assert set_role(client, ids["ada"], "member").status_code == 200
    with inside(fixtures.acme):
        assert Project.objects.get().owner_id == fixtures.carl.user.pk  # who joined before Bob


def test_demoting_another_owner_keeps_the_project_owner(fixtures, as_, ids):
    client = as_(fixtures.ada)
    set_role(client, ids["bob"], "owner")

    assert set_role(client, ids["bob"], "member").status_code == 200
    with inside(fixtures.acme):
        assert Project.objects.get().owner_id == fixtures.ada.user.pk


@pytest.mark.parametrize("body", [{}, {"role": None}, {"role": "king"}, {"role": "member", "user_id": 1}])  # fmt: skip
def test_invalid_body_is_refused(fixtures, as_, ids, body):
    assert as_(fixtures.ada).patch(f"/members/{ids['bob']}", body).status_code == 422


def test_project_of_a_non_member_is_not_found(fixtures, as_, ids):
    for actor in (fixtures.eve, fixtures.mallory):
        assert set_role(as_(actor), ids["bob"], "admin").status_code == 404
    assert set_role(as_(fixtures.ada), 10**9, "admin").status_code == 404
