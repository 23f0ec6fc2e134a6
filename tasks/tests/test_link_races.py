"""Links of mails under concurrent requests: each works once."""

from __future__ import annotations

from functools import partial

import pytest

from accounts.actions import password_resets
from accounts.actions.users import deactivate_user, update_user
from accounts.models import User
from conftest import ApiClient, Fixtures, build_fixtures
from taskflow.tenancy import inside
from taskflow.tests.concurrency import at_once, call_during
from tasks.actions import invitations
from tasks.actions.invitations import invite, revoke_invitation
from tasks.models.invitations import Invitation

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]
PASSWORDS = [f"a long enough passphrase {n}" for n in range(4)]
ACCEPTANCE = "/invitations/acceptance"
COMPLETION = "/auth/password-resets/completion"


@pytest.fixture
def sent(monkeypatch):
    """The texts of the links that are issued."""
    texts = []

    def keep(mail):
        texts.append(mail.text.partition("token=")[2].split()[0])

    for module in (password_resets, invitations):
        monkeypatch.setattr(module, "send_after_commit", keep)
    return texts


@pytest.fixture
def live() -> Fixtures:
    return build_fixtures()


def post(path, token, password):
    return ApiClient().post(path, {"token": token, "password": password})


@pytest.fixture
def reset(live, sent):
    body = {"email": "ada@acme.example", "tenant": "acme"}
    assert ApiClient().post("/auth/password-resets", body).status_code == 202
    return sent[0]


@pytest.fixture
def invitation(live, sent):
    with inside(live.acme):
        invite(live.boss, email="nora@acme.example")
    return sent[0]


def test_one_of_several_completions_sets_the_password(live, reset):
    answers = at_once(*[partial(post, COMPLETION, reset, password) for password in PASSWORDS])

    assert sorted(r.status_code for r in answers) == [204, 422, 422, 422]
    chosen = PASSWORDS[[r.status_code for r in answers].index(204)]
    with inside(live.acme):
        assert User.objects.get(pk=live.ada.user.pk).check_password(chosen)


def test_one_of_several_acceptances_creates_the_user(live, invitation):
    answers = at_once(*[partial(post, ACCEPTANCE, invitation, password) for password in PASSWORDS])

    assert sorted(r.status_code for r in answers) == [200, 422, 422, 422]
    with inside(live.acme):
        assert User.objects.filter(email="nora@acme.example").count() == 1


def test_completion_waits_for_a_deactivation_and_is_refused(live, reset):
    r = call_during(
        live.acme,
        lambda: deactivate_user(live.boss, User.objects.get(pk=live.ada.user.pk)),
        partial(post, COMPLETION, reset, PASSWORDS[0]),
    )

    assert r.status_code == 422


def test_acceptance_waits_for_a_revocation_and_is_refused(live, invitation):
    r = call_during(
        live.acme,
        lambda: revoke_invitation(live.boss, Invitation.objects.get()),
        partial(post, ACCEPTANCE, invitation, PASSWORDS[0]),
    )

    assert r.status_code == 422


def test_acceptance_waits_until_the_inviter_is_no_administrator_and_is_refused(live, sent):
    with inside(live.acme):
        update_user(live.boss, live.carl.user, is_staff=True)
        live.carl.user.refresh_from_db()
        invite(live.carl, email="nora@acme.example")

    r = call_during(
        live.acme,
        lambda: update_user(live.boss, User.objects.get(pk=live.carl.user.pk), is_staff=False),
        partial(post, ACCEPTANCE, sent[0], PASSWORDS[0]),
    )

    assert r.status_code == 422
