"""A stored response is sent again only to a user who may still see it."""

from __future__ import annotations

import pytest

from accounts.actions.tokens import revoke_token
from accounts.actions.users import update_user
from accounts.models import ApiToken, IdempotencyRecord
from conftest import ApiClient
from taskflow.tenancy import inside
from tasks.actions.members import remove_member
from tasks.models import Project, ProjectMember
from tasks.tests.factories import MemberFactory, ProjectFactory

KEY = {"Idempotency-Key": "k1"}


def create_task(client):
    return client.post("/tasks", {"project": "APO", "title": "secret plan"}, headers=KEY)


def remove_from_apollo(fixtures, actor):
    with inside(fixtures.acme):
        remove_member(fixtures.ada, ProjectMember.objects.get(user=actor.user, project__key="APO"))


def assert_replayed(first, again):
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"


def assert_refused(response):
    assert (response.status_code, response.json()["code"]) == (403, "replay_refused")
    assert "Idempotency-Replayed" not in response.headers
    assert b"secret plan" not in response.content


def count_tasks(fixtures):
    with inside(fixtures.acme):
        return Project.objects.get(key="APO").tasks.count()


def test_member_removed_since_does_not_get_the_stored_response(fixtures, as_):
    client = as_(fixtures.bob)
    assert create_task(client).status_code == 201
    count = count_tasks(fixtures)
    remove_from_apollo(fixtures, fixtures.bob)

    assert_refused(create_task(client))
    assert count_tasks(fixtures) == count


def test_member_removed_and_added_again_gets_the_stored_response(fixtures, as_):
    client = as_(fixtures.bob)
    first = create_task(client)
    remove_from_apollo(fixtures, fixtures.bob)
    with inside(fixtures.acme):
        MemberFactory(actor=fixtures.ada, project=fixtures.apollo, user=fixtures.bob.user)

    assert_replayed(first, create_task(client))


def test_member_added_to_another_project_since_gets_the_stored_response(fixtures, as_):
    client = as_(fixtures.bob)
    first = create_task(client)
    with inside(fixtures.acme):
        other = ProjectFactory(actor=fixtures.ada, name="Other")
        MemberFactory(actor=fixtures.ada, project=other, user=fixtures.bob.user)

    assert_replayed(first, create_task(client))


def test_member_whose_project_was_deleted_since_gets_the_stored_response(fixtures, as_):
    client = as_(fixtures.ada)
    first = create_task(client)
    client.delete("/projects/APO?force=true")

    assert_replayed(first, create_task(client))


def test_member_who_left_by_the_write_itself_gets_the_stored_response(fixtures, as_):
    client = as_(fixtures.bob)
    with inside(fixtures.acme):
        membership = ProjectMember.objects.get(user=fixtures.bob.user)

    first, again = (client.delete(f"/members/{membership.pk}", headers=KEY) for _ in range(2))

    assert first.status_code == 204
    assert_replayed(first, again)


def test_created_project_is_shown_again_to_its_owner_only_while_a_member(fixtures, as_):
    client = as_(fixtures.eve)
    body = {"name": "secret plan", "key": "NEW"}
    first = client.post("/projects", body, headers=KEY)
    assert_replayed(first, client.post("/projects", body, headers=KEY))
    with inside(fixtures.acme):
        project = Project.objects.get(key="NEW")
        MemberFactory(actor=fixtures.eve, project=project, user=fixtures.ada.user, role="owner")
        remove_member(fixtures.boss, ProjectMember.objects.get(user=fixtures.eve.user))

    assert_refused(client.post("/projects", body, headers=KEY))


def test_former_administrator_does_not_get_the_stored_response(fixtures, as_):
    with inside(fixtures.acme):
        type(fixtures.eve.user).objects.filter(pk=fixtures.eve.user.pk).update(is_staff=True)
    client = as_(fixtures.eve)
    first = create_task(client)
    assert_replayed(first, create_task(client))

    as_(fixtures.boss).patch("/users/@eve", {"is_staff": False})

    assert_refused(create_task(client))


def test_member_who_became_an_administrator_gets_the_stored_response(fixtures, as_):
    client = as_(fixtures.bob)
    first = create_task(client)

    as_(fixtures.boss).patch("/users/@bob", {"is_staff": True})

    assert_replayed(first, create_task(client))


def test_deactivated_user_does_not_get_the_stored_response(fixtures, as_):
    client = as_(fixtures.bob)
    create_task(client)

    as_(fixtures.boss).patch("/users/@bob", {"is_active": False})

    assert create_task(client).status_code == 401


def test_revoked_token_does_not_get_the_stored_response(fixtures, as_):
    client = as_(fixtures.bob)
    create_task(client)
    with inside(fixtures.acme):
        revoke_token(fixtures.bob, ApiToken.objects.get(user=fixtures.bob.user))

    assert create_task(client).status_code == 401


@pytest.mark.parametrize("scope", ["read", "write"])
def test_token_of_a_smaller_scope_does_not_get_the_stored_response(fixtures, as_, scope):
    create_task(as_(fixtures.bob))

    response = create_task(as_(fixtures.bob, scope))

    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")


def test_token_bound_to_projects_does_not_get_the_stored_response(fixtures, as_):
    create_task(as_(fixtures.bob))

    response = create_task(as_(fixtures.bob, project_ids=[fixtures.apollo.pk]))

    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")


def test_response_stored_by_an_earlier_version_is_sent_again(fixtures, as_):
    """Such a record does not say what the user could see."""
    client = as_(fixtures.bob)
    first = create_task(client)
    with inside(fixtures.acme):
        IdempotencyRecord.objects.update(project_ids=None, was_staff=False)
    remove_from_apollo(fixtures, fixtures.bob)

    assert_replayed(first, create_task(client))


def test_stored_response_of_another_tenant_is_not_found_by_its_key(fixtures, as_):
    create_task(as_(fixtures.ada))
    mallory: ApiClient = as_(fixtures.mallory)

    response = mallory.post("/tasks", {"project": "APO", "title": "secret plan"}, headers=KEY)

    assert response.status_code == 422
    assert "Idempotency-Replayed" not in response.headers


def token_for_bot(maker):
    r = maker.post("/tokens", {"name": "b", "scope": "write", "user": "@bot"})
    assert r.status_code == 201
    return ApiClient(r.json()["token"])


def test_token_of_an_agent_does_not_get_the_response_after_its_maker_has_left(fixtures, as_):
    """The maker knows the text of the token, so that the maker would see the project's rows."""
    bot = token_for_bot(as_(fixtures.ada))
    first = create_task(bot)
    assert_replayed(first, create_task(bot))
    with inside(fixtures.acme):
        transfer = ProjectMember.objects.get(user=fixtures.carl.user, project__key="APO")
    as_(fixtures.ada).patch(f"/members/{transfer.pk}", {"role": "owner"})
    remove_from_apollo(fixtures, fixtures.ada)

    assert_refused(create_task(bot))


def test_token_of_an_agent_does_not_get_the_response_to_a_token_of_another_maker(fixtures, as_):
    of_boss = token_for_bot(as_(fixtures.boss))
    with inside(fixtures.acme):
        update_user(fixtures.boss, fixtures.bot.user, responsible=fixtures.eve.user)
    of_eve = token_for_bot(as_(fixtures.eve))  # who is no member
    first = create_task(of_boss)

    assert_refused(create_task(of_eve))
    assert_replayed(first, create_task(of_boss))
