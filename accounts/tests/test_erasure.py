"""Erasure: nothing in the database identifies the person any more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection, models

from accounts.actions.tokens import create_token
from accounts.actions.users import update_user
from accounts.models import IdempotencyRecord, User
from conftest import ApiClient, build_fixtures, person, token_of
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.erasure import Names, references_to
from taskflow.audit.models import Event
from taskflow.tenancy import inside, is_tenant_model
from tasks.management.commands.verify import find_faults

PASSWORD = "zulu tango foxtrot"
# Every text that identifies the person, or that only the person's own rows contain.
MARKERS = (
    "qzformerhandle",
    "qzhandle",
    "qzformer@",
    "qzmail@",
    "Qzäfirst",
    "Qzlast",
    "Qzold",
    "qzdevice",
    "qzkey",
    "203.0.113.99",
    "qzagent",
)
# What erasure does with each reference to a user. `deleted`: the row belongs to the user alone.
# `kept`: the row is data of the tenant; it shows the name of the user's row, which is erased.
REFERENCES = {
    "accounts.ApiToken.user": "deleted",
    "accounts.ApiToken.issued_by": "kept",
    "accounts.IdempotencyRecord.user_id": "deleted",
    "accounts.MailToken.user": "deleted",
    "accounts.SecondFactor.user": "deleted",
    "accounts.Session.user": "deleted",
    "accounts.User.responsible": "kept",
    "audit.Event.actor": "kept",
    "audit.Event.on_behalf_of": "kept",
    "audit.Event.operator_id": "kept",
    "audit.Event.token_issued_by": "kept",
    "tasks.Claim.assignee_before": "kept",
    "tasks.Claim.user": "kept",
    "tasks.Comment.author": "kept",
    "tasks.Invitation.invited_by": "kept",
    "tasks.Invitation.user": "kept",  # its e-mail is replaced as in other texts
    "tasks.Notification.actor": "kept",
    "tasks.Notification.user": "deleted",
    "tasks.NotificationPreference.user": "deleted",
    "tasks.Page.owner": "kept",
    "tasks.Project.owner": "kept",
    "tasks.ProjectMember.user": "kept",
    "tasks.Task.assignee": "kept",
    "tasks.Task.created_by": "kept",
    "tasks.View.owner": "deleted",
    "tasks.Webhook.owner": "deleted",
}
IDS_OF_USERS = {"user_id", "operator_id"}  # columns without a foreign key


def references():
    """Every reference to a user, with what its on_delete makes of it."""
    found = {
        f"{model._meta.label}.{name}": "deleted" if on_delete is models.CASCADE else "kept"
        for model, name, on_delete in references_to(User)
    }
    for model in filter(is_tenant_model, apps.get_models()):
        for field in model._meta.concrete_fields:
            if field.name in IDS_OF_USERS and not field.is_relation:
                found[f"{model._meta.label}.{field.name}"] = REFERENCES.get(
                    f"{model._meta.label}.{field.name}", "unknown"
                )
    return found


def test_every_reference_to_a_user_has_a_stated_erasure():
    """A new table whose rows belong to a user alone needs models.CASCADE, and a line above."""
    assert references() == REFERENCES


# ---- the whole database -------------------------------------------------------------------------


def fill(live):
    """Create a user with all that identifies one, and texts of others that name the user."""
    boss = ApiClient(token_of(live.boss))
    actor = person(live.boss, "qzformerhandle", PASSWORD)
    path = f"/users/{actor.user.pk}"
    former = {"full_name": "Qzold Qzlast", "email": "qzformer@acme.example"}
    names = {
        "handle": "qzhandle",
        "full_name": "Qzäfirst Qzlast",
        "email": "qzmail@acme.example",
    }
    with inside(live.acme):
        update_user(live.boss, update_user(live.boss, actor.user, **former), **names)
    boss.post("/projects/APO/members", {"user": "@qzhandle", "role": "member"})
    with inside(live.acme):
        user = User.objects.get(pk=actor.user.pk)
        qz = Actor(user, live.acme)
        _token, text = create_token(qz, name="qzdevice", scope=TokenScope.ADMIN)
    client = ApiClient(text)
    task = {"project": "APO", "title": "Once", "assignee": "me"}
    assert client.post("/tasks", task, headers={"Idempotency-Key": "qzkey"}).status_code == 201
    client.patch("/tasks/APO-2", {"title": "The title of the task"})
    for password in ("wrong", PASSWORD):
        sign_in(names["email"], password)
    write_texts_of_others(live, boss)
    return user, boss, path


def sign_in(email, password):
    """From an address and with a program that occur nowhere else."""
    client = ApiClient(REMOTE_ADDR="203.0.113.99", HTTP_USER_AGENT="qzagent/1")
    r = client.post("/auth/login", {"email": email, "password": password})
    assert r.status_code == (200 if password == PASSWORD else 401)
    if r.status_code == 200:  # a change of a token is an event with the address too
        client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {r.json()['token']}"
        created = client.post("/tokens", {"name": "qzdevice"}).json()
        assert client.delete(f"/tokens/{created['id']}").status_code == 204


def write_texts_of_others(live, boss):
    ada = ApiClient(token_of(live.ada))
    name = "Qzäfirst Qzlast"
    ada.patch("/projects/APO", {"name": f"Handover of {name}", "metadata": {name: ["@qzhandle"]}})
    ada.patch(
        "/tasks/APO-1", {"title": "Ask @QzHandle.", "description": f"{name}: qzmail@acme.example"}
    )
    ada.patch("/tasks/APO-1", {"links": [{"url": "https://x.example/?to=qzmail@acme.example"}]})
    comment = ada.post("/comments", {"task": "APO-1", "body": f"@qzformerhandle, {name}"}).json()
    ada.patch(f"/comments/{comment['id']}", {"body": "QZMAIL@ACME.EXAMPLE"})
    gone = ada.post("/comments", {"task": "APO-1", "body": "@qzhandle left"}).json()
    ada.delete(f"/comments/{gone['id']}", headers={"X-Reason": "for qzmail@acme.example"})
    ada.post(
        "/pages", {"project": "APO", "title": f"{name}'s page", "body": "qzformer@acme.example"}
    )
    reply = {"task": "APO-1", "body": f"@qzhandle ({name})"}
    ada.post("/comments", reply, headers={"Idempotency-Key": "others"})


def erase(boss, path):
    assert boss.post(f"{path}/offboarding", {}).status_code == 200
    response = boss.post(f"{path}/erasure")
    assert response.status_code == 200, response.content


def forms_of(marker):
    """The marker as it is stored: as text, in JSON, folded, and as a word of the search index."""
    texts = {marker, json.dumps(marker)[1:-1], marker.casefold(), marker.replace("ä", "a")}
    return {form for text in texts for form in (text, text.lower(), text.upper())}


def contents():
    """The content of the database by place: its files on SQLite, all rows on PostgreSQL."""
    if connection.vendor == "sqlite":
        path = Path(connection.settings_dict["NAME"])
        files = [path.with_name(path.name + suffix) for suffix in ("", "-wal")]
        return {file.name: file.read_bytes() for file in files if file.exists()}
    with connection.cursor() as cursor:
        found = {}
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT coalesce(string_agg(t::text, ' '), '') FROM {table} t")
            found[table] = cursor.fetchone()[0].encode()
        return found


def find_markers(live):
    with inside(live.acme):
        found = contents()
    return {
        (place, marker)
        for place, content in found.items()
        for marker in MARKERS
        for form in forms_of(marker)
        if form.encode() in content
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_erasure_leaves_nothing_that_identifies_the_person_in_the_database():
    live = build_fixtures()
    user, boss, path = fill(live)
    password_hash = user.password.rpartition("$")[2].encode()
    assert {marker for _, marker in find_markers(live)} == set(MARKERS)

    erase(boss, path)

    assert find_markers(live) == set()
    with inside(live.acme):
        assert not any(password_hash in content for content in contents().values())
        assert list(find_faults()) == []


@pytest.mark.slow
def test_erasure_keeps_what_the_person_did_and_what_others_wrote(fixtures, as_):
    boss, eve = as_(fixtures.boss), as_(fixtures.eve)
    boss.patch("/users/@eve", {"full_name": "Eve Adams"})
    boss.post("/projects/APO/members", {"user": "@eve", "role": "member"})
    eve.patch("/tasks/APO-1", {"title": "By eve"})
    ada = as_(fixtures.ada)
    body = "@eve and @evelyn, steve@eve.example: Eve Adams will say on the eve."
    comment = ada.post("/comments", {"task": "APO-1", "body": body}).json()
    path = f"/users/{fixtures.eve.user.pk}"

    erase(boss, path)

    name = f"erased-{fixtures.eve.user.pk}"
    shown = ada.get(f"/comments/{comment['id']}").json()["body"]
    assert shown == f"@{name} and @evelyn, steve@eve.example: {name} will say on the eve."
    assert ada.get("/tasks/APO-1").json()["title"] == "By eve"
    with inside(fixtures.acme):
        assert Event.objects.filter(actor=fixtures.eve.user, verb="changed").exists()
        erased = Event.objects.get(subject_type="comment", verb="erased")
        assert erased.actor == fixtures.boss.user
        assert erased.changes == {"body": [shown, shown]}


def test_erasure_deletes_tokens_stored_responses_and_the_password(fixtures, as_):
    boss, eve = as_(fixtures.boss), as_(fixtures.eve)
    eve.patch("/me", {"full_name": "Evelyn"}, headers={"Idempotency-Key": "k"})
    with inside(fixtures.acme):
        fixtures.eve.user.set_password(PASSWORD)
        fixtures.eve.user.save()

    erase(boss, f"/users/{fixtures.eve.user.pk}")

    with inside(fixtures.acme):
        user = User.objects.get(pk=fixtures.eve.user.pk)
        assert not user.has_usable_password()
        assert not user.tokens.exists()
        assert not IdempotencyRecord.objects.filter(user_id=user.pk).exists()
        kept = Event.objects.filter(subject_type="apitoken", changes__has_key="name")
        assert "sign-in" not in str(list(kept.filter(subject_id=1).values("changes")))


def test_name_that_another_user_has_now_is_not_replaced(fixtures, as_):
    boss, ada = as_(fixtures.boss), as_(fixtures.ada)
    path = f"/users/{fixtures.eve.user.pk}"
    boss.patch(path, {"handle": "old-eve"})
    boss.patch(f"/users/{fixtures.bob.user.pk}", {"handle": "eve"})
    comment = ada.post("/comments", {"task": "APO-1", "body": "@eve, @old-eve"}).json()

    erase(boss, path)

    shown = ada.get(f"/comments/{comment['id']}").json()["body"]
    assert shown == f"@eve, @erased-{fixtures.eve.user.pk}"


def test_erasure_of_one_tenant_changes_no_text_of_another(fixtures, as_):
    mallory = as_(fixtures.mallory)
    mallory.patch("/tasks/SEC-1", {"description": "@eve, eve@acme.example"})

    erase(as_(fixtures.boss), f"/users/{fixtures.eve.user.pk}")

    assert mallory.get("/tasks/SEC-1").json()["description"] == "@eve, eve@acme.example"


def test_dry_run_of_an_erasure_changes_nothing(fixtures, as_):
    boss, path = as_(fixtures.boss), f"/users/{fixtures.eve.user.pk}"
    boss.post(f"{path}/offboarding", {})

    assert boss.post(f"{path}/erasure?dry_run=true").status_code == 200

    assert boss.get(path).json()["handle"] == "eve"


# ---- names in texts -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@eve", "@e1"),
        ("Ask @EVE, please.", "Ask @e1, please."),
        ("(@eve)", "(@e1)"),
        ("@eve.", "@e1."),
        ("@evelyn @eve-2 @eve.b steve@eve", "@evelyn @eve-2 @eve.b steve@eve"),
        ("<a@b.example>", "<e1@x>"),
        ("xa@b.example a@b.example.org", "xa@b.example a@b.example.org"),
        ("MÜLLER, Jörg Müller's", "MÜLLER, e1's"),
        (["@eve", {"Jörg Müller": 1}], ["@e1", {"e1": 1}]),
        (None, None),
    ],
)
def test_name_is_replaced_only_as_a_whole(text, expected):
    names = Names({"@eve": "@e1", "a@b.example": "e1@x", "Jörg Müller": "e1"})

    assert names.replace_in(text) == expected
