"""Invitations: in the admin, and the page of the link."""

from __future__ import annotations

import pytest
from django.urls import reverse

from accounts.actions.users import update_user
from accounts.models import User
from conftest import ApiClient
from taskflow.tenancy import inside
from tasks.actions.invitations import invite
from tasks.models import ProjectMember
from tasks.models.invitations import Invitation

pytestmark = pytest.mark.one_database
PASSWORD = "staple for all horses"
PAGE = "/admin/invitation/"
ADD = "/admin/tasks/invitation/add/"


@pytest.fixture
def admin(fixtures, client, mailbox):
    with inside(fixtures.acme):
        update_user(fixtures.boss, fixtures.boss.user, password=PASSWORD)
    mailbox.collect()  # the notice of the new password
    client.post("/admin/login/", {"username": "boss@acme.example", "password": PASSWORD})
    return client


@pytest.fixture
def token(fixtures, mailbox):
    with inside(fixtures.acme):
        invite(fixtures.boss, email="nora@acme.example", full_name="Nora Example")
    return mailbox.collect_token()


@pytest.mark.slow
def test_administrator_invites_sends_again_and_revokes(fixtures, admin, mailbox):
    assert "Invite by e-mail" in admin.get(reverse("admin:accounts_user_changelist")).text
    form = admin.get(ADD).text
    assert 'data-field-name="project"' in form
    assert "Apollo" not in form, "projects are offered while one types"
    source = {"app_label": "tasks", "model_name": "projectmember", "field_name": "project"}
    offered = admin.get(reverse("admin:autocomplete"), source | {"term": "e"}).text
    assert "Apollo" in admin.get(reverse("admin:autocomplete"), source | {"term": "apo"}).text
    assert "Secret" not in offered

    values = {"email": "nora@acme.example", "full_name": "Nora", "role": "member"}
    r = admin.post(ADD, values | {"join": [fixtures.apollo.pk], "row_version": ""})

    assert r.status_code == 302, r.text
    assert mailbox.collect_one().to == ["nora@acme.example"]
    with inside(fixtures.acme):
        invitation = Invitation.objects.get()
    assert invitation.projects == [{"project_id": fixtures.apollo.pk, "role": "member"}]
    for name, mails, state in (("resend", 1, "pending"), ("revoke", 0, "revoked")):
        sent = {"action": name, "_selected_action": [invitation.pk]}
        admin.post(reverse("admin:tasks_invitation_changelist"), sent)
        assert len(mailbox.collect()) == mails
        assert state in admin.get(reverse("admin:tasks_invitation_changelist")).text
    page = admin.get(reverse("admin:tasks_invitation_change", args=[invitation.pk]))
    assert page.status_code == 200


def test_email_of_a_user_is_refused_in_the_form(admin, mailbox):
    r = admin.post(ADD, {"email": "ada@acme.example", "role": "member"}, follow=True)

    assert "A user has this e-mail" in r.text
    assert mailbox.collect() == []


def test_person_accepts_on_the_page_with_the_button(fixtures, token, client):
    shown = client.get(PAGE, {"token": token})
    assert "nora@acme.example" in shown.text
    assert 'value="Nora Example"' in shown.text

    r = client.post(PAGE, {"token": token, "full_name": "Nora N.", "password": PASSWORD})

    assert "Welcome to TaskFlow" in r.text
    with inside(fixtures.acme):
        assert User.objects.get(email="nora@acme.example").full_name == "Nora N."
    login = {"email": "nora@acme.example", "password": PASSWORD}
    assert ApiClient().post("/auth/login", login).status_code == 200
    again = client.get(PAGE, {"token": token})
    assert (again.status_code, "does not work" in again.text) == (404, True)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"password": "password"}, "too common"),
        ({"handle": "ada"}, "taken"),
        ({"handle": "Not a handle"}, "lower-case letters"),
    ],
)
def test_refused_values_are_explained_and_the_link_still_works(token, client, values, sentence):
    r = client.post(PAGE, {"token": token, "password": PASSWORD} | values)

    assert sentence in r.text
    assert client.get(PAGE, {"token": token}).status_code == 200


def test_person_who_is_a_user_by_now_joins_with_the_button_alone(fixtures, client, mailbox):
    with inside(fixtures.acme):
        projects = [(fixtures.apollo.pk, "member")]
        invite(fixtures.boss, email="nora@acme.example", projects=[])
        token = mailbox.collect_token()
        Invitation.objects.update(
            email="eve@acme.example", projects=[{"project_id": pk, "role": r} for pk, r in projects]
        )

    assert 'type="password"' not in client.get(PAGE, {"token": token}).text
    assert "Welcome" in client.post(PAGE, {"token": token}).text

    with inside(fixtures.acme):
        assert ProjectMember.objects.filter(user=fixtures.eve.user).exists()
