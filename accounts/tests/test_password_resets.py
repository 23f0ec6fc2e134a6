"""Setting a forgotten password by a link in a mail: through the API."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core import mail
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.actions.mail_tokens import delete_expired_mail_tokens
from accounts.actions.users import deactivate_user
from accounts.models import ApiToken, MailToken, User
from accounts.tokens import MAIL_LINK, make_token_text
from conftest import PASSWORD, ApiClient, new_tenant, person, token_of
from taskflow.mail.sending import mail_queue
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database

NEW = "staple for all horses"
RESETS = "/auth/password-resets"
COMPLETION = f"{RESETS}/completion"


def ask(email="ada@acme.example", client=None, **more):
    return (client or ApiClient()).post(RESETS, {"email": email} | more)


def complete(token, password=NEW, client=None):
    return (client or ApiClient()).post(COMPLETION, {"token": token, "password": password})


def sign_in(password, email="ada@acme.example"):
    return ApiClient().post("/auth/login", {"email": email, "password": password}).status_code


def test_link_in_the_mail_sets_a_new_password_once(fixtures, mailbox, events):
    assert ask("ADA@acme.example").status_code == 202
    link = mailbox.collect_link()
    assert link.startswith("https://tasks.example/admin/password-reset/completion/?token=tm_")
    token = link.partition("token=")[2]

    r = complete(token)

    assert (r.status_code, r.content) == (204, b"")
    assert sign_in(NEW) == 200
    assert sign_in(PASSWORD) == 401
    again = complete(token, "another good passphrase")
    assert (again.status_code, again.json()["errors"][0]["code"]) == (422, "link_not_valid")
    assert sign_in(NEW) == 200
    (event,) = events(fixtures.acme, subject_type="user", verb="password_reset")
    assert (event.actor_id, event.subject_id) == (fixtures.ada.user.pk, fixtures.ada.user.pk)
    assert event.changes == {"password": ["…", "…"]}


def test_mail_names_the_person_and_the_tenant_and_no_host_of_the_request(fixtures, mailbox):
    ApiClient().post(
        RESETS, {"email": "ada@acme.example", "tenant": "acme"}, headers={"Host": "evil.example"}
    )

    message = mailbox.collect_one()

    assert message.to == ["ada@acme.example"]
    assert "Acme" in message.subject or fixtures.acme.name in message.subject
    assert "evil" not in message.message().as_string()


@pytest.mark.sampled(10)
@pytest.mark.parametrize("who", ["unknown", "agent", "inactive", "other tenant", "operator"])
def test_nobody_else_gets_a_mail_and_the_answer_is_the_same(fixtures, mailbox, who):
    platform = new_tenant("platform", "olga")
    with inside(fixtures.acme):
        deactivate_user(fixtures.boss, fixtures.eve.user)
        User.objects.filter(pk=fixtures.bot.user.pk).update(email="bot@acme.example")
    email = {
        "unknown": "nobody@acme.example",
        "agent": "bot@acme.example",
        "inactive": "eve@acme.example",
        "other tenant": "mallory@globex.example",
        "operator": platform.user.email,
    }[who]

    r, known = ask(email), ask()

    assert (r.status_code, r.content) == (known.status_code, known.content)
    assert r.status_code == 202
    assert r.headers.keys() == known.headers.keys()
    assert mailbox.collect_one().to == ["ada@acme.example"]


def test_unknown_email_costs_the_same_statements(fixtures, mailbox):
    verbs = []
    ask()  # so that there is a link to replace
    for email in ("ada@acme.example", "nobody@acme.example"):
        with CaptureQueriesContext(connection) as captured:
            ask(email)
        verbs.append([query["sql"].split()[0] for query in captured.captured_queries])

    assert verbs[0] == verbs[1]
    assert {"SELECT", "DELETE", "INSERT"} <= set(verbs[0])


def test_reset_ends_the_tokens_of_the_user_alone(fixtures, mailbox):
    token, other = token_of(fixtures.ada), token_of(fixtures.bob)
    ask()

    assert complete(mailbox.collect_token()).status_code == 204

    assert ApiClient(token).get("/me").status_code == 401
    assert ApiClient(other).get("/me").status_code == 200
    with inside(fixtures.acme):
        assert not ApiToken.objects.filter(user=fixtures.ada.user).live(timezone.now()).exists()


def test_newer_link_replaces_the_earlier_one(fixtures, mailbox):
    ask()
    first = mailbox.collect_token()
    ask()
    second = mailbox.collect_token()

    assert complete(first).status_code == 422
    assert complete(second).status_code == 204


def test_link_expires_after_an_hour_and_is_purged(fixtures, mailbox):
    ask()
    token = mailbox.collect_token()
    with inside(fixtures.acme):
        row = MailToken.objects.get()
        assert timedelta(minutes=59) < row.expires_at - timezone.now() <= timedelta(hours=1)
        MailToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    assert complete(token).status_code == 422

    with inside(fixtures.acme):
        assert delete_expired_mail_tokens() == 1
        assert not MailToken.objects.exists()


def test_weak_password_is_refused_and_the_link_still_works(fixtures, mailbox):
    ask()
    token = mailbox.collect_token()

    weak = complete(token, "password")

    assert (weak.status_code, weak.json()["errors"][0]["code"]) == (422, "weak_password")
    assert complete(token).status_code == 204


def test_link_of_a_user_who_was_deactivated_since_does_not_work(fixtures, mailbox):
    ask()
    token = mailbox.collect_token()
    with inside(fixtures.acme):
        deactivate_user(fixtures.boss, fixtures.ada.user)

    assert complete(token).status_code == 422


@pytest.mark.sampled(10)
@pytest.mark.parametrize("kind", ["text", "bearer", "unknown", "other tenant", "wrong checksum"])
def test_token_that_belongs_to_no_link_is_refused(fixtures, mailbox, kind):
    unknown = make_token_text(fixtures.acme.pk, kind=MAIL_LINK)
    token = {
        "text": "x",
        "bearer": token_of(fixtures.ada),
        "unknown": unknown,
        "other tenant": make_token_text(fixtures.globex.pk, kind=MAIL_LINK),
        "wrong checksum": unknown[:-1] + ("0" if unknown[-1] != "0" else "1"),
    }[kind]

    r = complete(token)

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/token")


def test_link_works_in_its_own_tenant_only(fixtures, mailbox):
    ask()
    token = mailbox.collect_token()

    r = ApiClient().post(
        COMPLETION, {"token": token, "password": NEW}, headers={"X-Tenant": "globex"}
    )

    assert r.status_code == 422
    assert complete(token).status_code == 204


def test_link_is_no_bearer_token(fixtures, mailbox):
    ask()

    assert ApiClient(mailbox.collect_token()).get("/me").status_code == 401


def test_only_the_digest_is_stored(fixtures, mailbox):
    ask()
    token = mailbox.collect_token()

    with inside(fixtures.acme):
        (row,) = MailToken.objects.values()
    assert token not in str(row)
    assert token[10:30] not in str(row)


def test_without_a_mail_server_the_request_is_refused(fixtures, settings):
    settings.SENDS_MAIL = False

    for email in ("ada@acme.example", "nobody@acme.example"):
        r = ask(email)
        assert (r.status_code, r.json()["code"]) == (403, "email_off")


def test_person_without_a_password_sets_the_first_one(fixtures, mailbox):
    with inside(fixtures.acme):
        person(fixtures.boss, "new")
    ask("new@acme.example")

    assert complete(mailbox.collect_token()).status_code == 204
    assert sign_in(NEW, "new@acme.example") == 200


@pytest.mark.django_db(transaction=True)
def test_mail_is_sent_after_the_commit_of_the_request(fixtures, mailbox):
    assert ask().status_code == 202

    mail_queue.finish(5)

    (message,) = mail.outbox
    token = message.body.partition("token=")[2].split()[0]
    assert complete(token).status_code == 204
