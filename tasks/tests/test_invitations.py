"""Invitations: through the API."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.actions.users import create_user, deactivate_user, update_user
from accounts.models import MailToken, User
from conftest import ApiClient, token_of
from taskflow.tenancy import inside
from tasks.actions.projects import delete_project
from tasks.models import ProjectMember
from tasks.models.invitations import Invitation

pytestmark = pytest.mark.one_database

PASSWORD = "staple for all horses"
NORA = {"email": "Nora@acme.example", "full_name": "Nora Example"}
ACCEPTANCE = "/invitations/acceptance"


@pytest.fixture
def boss(fixtures, as_):
    return as_(fixtures.boss)


def accept(token, **values):
    return ApiClient().post(ACCEPTANCE, {"token": token, "password": PASSWORD} | values)


def test_invited_person_becomes_a_user_and_joins_the_projects(fixtures, boss, mailbox, events):
    body = NORA | {"is_staff": True, "projects": [{"project": "APO", "role": "admin"}]}

    r = boss.post("/invitations", body)

    assert r.status_code == 201
    sent = r.json()
    assert (sent["state"], sent["email"]) == ("pending", "nora@acme.example")
    assert sent["projects"] == [{"project_id": fixtures.apollo.pk, "role": "admin"}]
    assert boss.get(r["Location"]).json() == sent
    message = mailbox.collect_one()
    assert message.to == ["nora@acme.example"]
    assert "https://tasks.example/admin/invitation/?token=tm_" in message.body
    token = message.body.partition("token=")[2].split()[0]
    assert token not in r.content.decode()

    user = accept(token, handle="nora")

    assert user.status_code == 200, user.json()
    assert {n: user.json()[n] for n in ("email", "handle", "full_name", "is_staff")} == {
        "email": "nora@acme.example",
        "handle": "nora",
        "full_name": "Nora Example",
        "is_staff": True,
    }
    login = {"email": "nora@acme.example", "password": PASSWORD}
    assert ApiClient().post("/auth/login", login).status_code == 200
    with inside(fixtures.acme):
        assert ProjectMember.objects.get(user=user.json()["id"]).role == "admin"
    got = boss.get(f"/invitations/{sent['id']}").json()
    assert (got["state"], got["user_id"]) == ("accepted", user.json()["id"])
    verbs = [(e.subject_type, e.verb, e.actor_id) for e in events(fixtures.acme)][-6:]
    boss_id, nora_id = fixtures.boss.user.pk, user.json()["id"]
    assert ("invitation", "created", boss_id) in verbs
    assert ("user", "created", boss_id) in verbs
    assert ("projectmember", "joined", boss_id) in verbs
    assert ("invitation", "accepted", nora_id) in verbs


def test_link_works_once(boss, mailbox):
    boss.post("/invitations", NORA)
    token = mailbox.collect_token()

    assert accept(token).status_code == 200
    assert accept(token, handle="second").status_code == 422


def test_refused_acceptance_leaves_the_link_usable(fixtures, boss, mailbox):
    boss.post("/invitations", NORA)
    token = mailbox.collect_token()

    assert accept(token, password="password").json()["errors"][0]["code"] == "weak_password"
    assert ApiClient().post(ACCEPTANCE, {"token": token}).status_code == 422
    assert accept(token, handle="ada").json()["code"] == "taken"
    assert accept(token, handle="nora").status_code == 200


def test_link_expires_after_seven_days_and_can_be_sent_again(fixtures, boss, mailbox):
    sent = boss.post("/invitations", NORA).json()
    first = mailbox.collect_token()
    with inside(fixtures.acme):
        left = MailToken.objects.get().expires_at - timezone.now()
        assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
        past = timezone.now() - timedelta(seconds=1)
        MailToken.objects.update(expires_at=past)
        Invitation.objects.update(expires_at=past)
    assert accept(first).status_code == 422
    assert boss.get("/invitations").json()["data"][0]["state"] == "expired"

    again = boss.post(f"/invitations/{sent['id']}/resending")

    assert (again.status_code, again.json()["state"]) == (200, "pending")
    second = mailbox.collect_token()
    assert accept(first).status_code == 422
    assert accept(second).status_code == 200
    assert boss.post(f"/invitations/{sent['id']}/resending").status_code == 409


def test_revoked_invitation_cannot_be_accepted_and_another_can_be_sent(boss, mailbox):
    sent = boss.post("/invitations", NORA).json()
    token = mailbox.collect_token()

    assert boss.delete(f"/invitations/{sent['id']}").status_code == 204
    assert boss.delete(f"/invitations/{sent['id']}").status_code == 204

    assert accept(token).status_code == 422
    assert boss.get(f"/invitations/{sent['id']}").json()["state"] == "revoked"
    assert boss.post("/invitations", NORA).status_code == 201


def test_second_open_invitation_and_one_to_a_user_are_refused(boss, mailbox):
    boss.post("/invitations", NORA)

    assert boss.post("/invitations", NORA).status_code == 409
    assert boss.post("/invitations", {"email": "ada@acme.example"}).json()["code"] == "taken"
    assert len(mailbox.collect()) == 1


def test_user_who_was_created_since_joins_the_projects_alone(fixtures, boss, mailbox):
    boss.post("/invitations", NORA | {"projects": [{"project": "APO"}]})
    token = mailbox.collect_token()
    with inside(fixtures.acme):
        nora = create_user(fixtures.boss, email="nora@acme.example", password=PASSWORD)

    assert accept(token, password="another good passphrase").status_code == 409
    r = ApiClient().post(ACCEPTANCE, {"token": token})

    assert (r.status_code, r.json()["id"]) == (200, nora.pk)
    with inside(fixtures.acme):
        assert ProjectMember.objects.get(user=nora).role == "member"
        assert User.objects.get(pk=nora.pk).check_password(PASSWORD)


def test_deleted_project_is_left_out(fixtures, boss, mailbox):
    boss.post("/invitations", NORA | {"projects": [{"project": "APO"}]})
    token = mailbox.collect_token()
    with inside(fixtures.acme):
        delete_project(fixtures.boss, fixtures.apollo)

    r = accept(token)

    assert r.status_code == 200
    with inside(fixtures.acme):
        assert not ProjectMember.objects.filter(user=r.json()["id"]).exists()


@pytest.mark.parametrize("how", ["deactivated", "no administrator"])
def test_invitation_ends_with_the_rights_of_the_administrator(fixtures, as_, mailbox, how):
    with inside(fixtures.acme):
        update_user(fixtures.boss, fixtures.carl.user, is_staff=True)
    as_(fixtures.carl).post("/invitations", NORA)
    token = mailbox.collect_token()
    with inside(fixtures.acme):
        if how == "deactivated":
            deactivate_user(fixtures.boss, fixtures.carl.user)
        else:
            update_user(fixtures.boss, fixtures.carl.user, is_staff=False)

    assert accept(token).status_code == 422


def test_only_administrators_of_the_tenant_see_and_send_invitations(fixtures, boss, as_, mailbox):
    sent = boss.post("/invitations", NORA).json()
    path = f"/invitations/{sent['id']}"
    bound = ApiClient(token_of(fixtures.boss, project_ids=[fixtures.apollo.pk]))

    for client in (as_(fixtures.ada), bound):
        assert client.get("/invitations").status_code == 403
        assert client.post("/invitations", {"email": "x@y.example"}).status_code == 403
        for method, end in (("get", ""), ("delete", ""), ("post", "/resending")):
            assert getattr(client, method)(path + end).status_code == 404
    mallory = as_(fixtures.mallory)
    assert mallory.get("/invitations").json()["data"] == []
    assert mallory.get(path).status_code == 404
    assert as_(fixtures.boss, "write").post("/invitations", NORA).status_code == 403


def test_project_that_is_not_visible_is_refused(boss):
    r = boss.post("/invitations", NORA | {"projects": [{"project": "APO"}, {"project": "SEC"}]})

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/projects/1")


def test_dry_run_plan_and_retry_send_at_most_one_mail(boss, mailbox):
    assert boss.post("/invitations?dry_run=true", NORA).status_code == 201
    assert boss.plan("post", "/invitations", NORA)["status"] == 201
    assert mailbox.collect() == []

    headers = {"Idempotency-Key": "one"}
    first = boss.post("/invitations", NORA, headers=headers)
    retry = boss.post("/invitations", NORA, headers=headers)

    assert first.content == retry.content
    assert len(mailbox.collect()) == 1


def test_undo_of_an_invitation_revokes_it(fixtures, boss, as_, mailbox):
    sent = boss.post("/invitations", NORA, headers={"X-Request-Id": "inviting"}).json()

    writer = as_(fixtures.boss, "write")
    assert writer.post("/undo", {"request_id": "inviting"}).status_code == 403
    assert boss.post("/undo", {"request_id": "inviting"}).status_code == 200

    assert boss.get(f"/invitations/{sent['id']}").json()["state"] == "revoked"
    assert accept(mailbox.collect_token()).status_code == 422


def test_without_a_mail_server_inviting_is_refused(boss, settings):
    settings.SENDS_MAIL = False

    r = boss.post("/invitations", NORA)

    assert (r.status_code, r.json()["code"]) == (403, "email_off")
