"""X-Reason and X-On-Behalf-Of: why a write is made, and for whom."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from django.test import override_settings

from accounts.actions.users import deactivate_user, update_user
from conftest import ApiClient
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from taskflow.tests.test_openapi import OPERATIONS
from tasks.models import Task
from tasks.tests.test_admin import sign_in

pytestmark = pytest.mark.one_database

PATH = "/tasks/APO-1"


def rename(client, headers, path=PATH):
    return client.patch(path, {"title": "Lift-off"}, headers=headers)


def last_event(fixtures):
    with inside(fixtures.acme):
        changes = Event.objects.exclude(verb="signed_in").select_related("on_behalf_of")
        return changes.latest("id")


def title_of(fixtures):
    with inside(fixtures.acme):
        return Task.objects.get(pk=fixtures.task.pk).title


# ---- the reason ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ("Requested by the customer", "Requested by the customer"),
        ("100%25 sure, really + truly", "100% sure, really + truly"),
        (quote("Wunsch des Kunden: schöner 💥"), "Wunsch des Kunden: schöner 💥"),
        ("x" * 500, "x" * 500),
        (quote("ü" * 500), "ü" * 500),
        ("%20padded%20", "padded"),
    ],
)
def test_reason_is_recorded_with_the_event(fixtures, as_, sent, reason):
    r = rename(as_(fixtures.bob), {"X-Reason": sent})

    assert r.status_code == 200, r.content
    assert last_event(fixtures).reason == reason
    (event, *_) = as_(fixtures.bob).get(f"{PATH}/events").json()["data"]
    assert event["reason"] == reason


@pytest.mark.parametrize(
    "sent",
    [
        "",  # the server passes a header that is not ASCII on as an empty one
        "%20",
        "schön",
        "100% sure",
        "a%0Ab",
        "a%00b",
        "a%7Fb",
        "a%C2%85b",
        "a%E2%80%A8b",
        "%FF",
        "%ED%A0%80",
        "x" * 501,
        "%C3%BC" * 501,
    ],
)
def test_malformed_reason_is_refused_and_nothing_is_written(fixtures, as_, sent):
    r = rename(as_(fixtures.bob), {"X-Reason": sent})

    assert (r.status_code, r.json()["code"]) == (400, "bad_reason")
    assert "percent-encoded" in r.json()["detail"]
    assert title_of(fixtures) == "Launch"


def test_every_event_of_a_request_has_its_reason(fixtures, as_, events):
    client = as_(fixtures.bob)
    count = len(events(fixtures.acme))
    body = {"name": "Moon", "tasks": [{"title": "a"}, {"title": "b"}]}

    client.post("/projects", body, headers={"X-Reason": "kick-off"})

    made = events(fixtures.acme)[count:]
    assert len(made) >= 4
    assert {event.reason for event in made} == {"kick-off"}


def test_read_ignores_both_headers(fixtures, as_):
    headers = {"X-Reason": "%", "X-On-Behalf-Of": "nobody at all"}

    assert as_(fixtures.bob).get(PATH, headers=headers).status_code == 200


# ---- on behalf of -------------------------------------------------------------------------------


@pytest.mark.parametrize("by_id", [True, False])
def test_agent_can_name_its_responsible_user(fixtures, as_, by_id):
    ref = str(fixtures.ada.user.pk) if by_id else "@Ada"

    r = rename(as_(fixtures.bot), {"X-On-Behalf-Of": ref})

    assert r.status_code == 200, r.content
    event = last_event(fixtures)
    assert (event.actor_id, event.on_behalf_of) == (fixtures.bot.user.pk, fixtures.ada.user)


def test_project_token_of_agent_can_name_responsible_user_outside_the_project(fixtures, as_):
    with inside(fixtures.acme):
        fixtures.bot.user.responsible = fixtures.eve.user
        fixtures.bot.user.save()

    r = rename(
        as_(fixtures.bot, "write", project_ids=[fixtures.apollo.pk]), {"X-On-Behalf-Of": "@eve"}
    )

    assert r.status_code == 200, r.content
    assert last_event(fixtures).on_behalf_of == fixtures.eve.user


@pytest.mark.parametrize("ref", ["@bob", "@nobody", "@bot", "9999999"])
def test_agent_cannot_name_another_user(fixtures, as_, ref):
    r = rename(as_(fixtures.bot), {"X-On-Behalf-Of": ref})

    assert r.status_code == 403
    assert r.json()["detail"] == "An agent can act on behalf of its responsible user only."
    assert title_of(fixtures) == "Launch"


def test_agent_without_responsible_user_cannot_name_any_user(fixtures, as_):
    with inside(fixtures.acme):
        fixtures.bot.user.responsible = None
        fixtures.bot.user.save()

    assert rename(as_(fixtures.bot), {"X-On-Behalf-Of": "@ada"}).status_code == 403


@pytest.mark.parametrize("ref", ["@bob", "@bot", "@eve", "@boss"])
def test_staff_can_name_any_active_user(fixtures, as_, ref):
    r = rename(as_(fixtures.boss), {"X-On-Behalf-Of": ref})

    assert r.status_code == 200, r.content
    assert f"@{last_event(fixtures).on_behalf_of.handle}" == ref


def test_staff_cannot_name_a_deactivated_user(fixtures, as_):
    with inside(fixtures.acme):
        deactivate_user(fixtures.boss, fixtures.eve.user)

    r = rename(as_(fixtures.boss), {"X-On-Behalf-Of": "@eve"})

    assert (r.status_code, title_of(fixtures)) == (403, "Launch")
    assert "deactivated" in r.json()["detail"]


def test_user_unknown_to_staff_is_an_unknown_reference(fixtures, as_):
    for ref in ("@nobody", "@mallory", str(fixtures.mallory.user.pk), "9223372036854775807"):
        r = rename(as_(fixtures.boss), {"X-On-Behalf-Of": ref})

        assert (r.status_code, title_of(fixtures)) == (422, "Launch"), ref
        (error,) = r.json()["errors"]
        assert (error["parameter"], error["code"]) == ("X-On-Behalf-Of", "unknown_reference")


def test_project_token_of_staff_can_name_members_of_the_project_only(fixtures, as_):
    client = as_(fixtures.boss, "write", project_ids=[fixtures.apollo.pk])

    assert rename(client, {"X-On-Behalf-Of": "@eve"}).status_code == 422
    assert rename(client, {"X-On-Behalf-Of": "@bob"}).status_code == 200


def test_person_who_is_not_staff_cannot_name_any_user(fixtures, as_):
    for ref in ("@ada", "@bob", "@nobody"):
        r = rename(as_(fixtures.ada), {"X-On-Behalf-Of": ref})

        assert (r.status_code, title_of(fixtures)) == (403, "Launch"), ref


@pytest.mark.parametrize(
    "ref", ["", "ada", "me", "@", "@a b", "@ada,@bob", "0", "-1", "1.5", "9" * 20, "@" + "a" * 51]
)
def test_malformed_user_is_refused(fixtures, as_, ref):
    for actor in (fixtures.boss, fixtures.bot, fixtures.ada):
        r = rename(as_(actor), {"X-On-Behalf-Of": ref})

        assert (r.status_code, r.json()["code"]) == (400, "bad_on_behalf_of")
        assert "@ada" in r.json()["detail"]
    assert title_of(fixtures) == "Launch"


# ---- where it is shown --------------------------------------------------------------------------


def test_task_and_project_events_contain_the_user_acted_for(fixtures, as_):
    rename(as_(fixtures.bot), {"X-On-Behalf-Of": "@ada", "X-Reason": "as agreed"})

    for path in (f"{PATH}/events", "/projects/APO/events"):
        event = as_(fixtures.ada).get(path).json()["data"][0]

        assert event["sentence"] == (
            "bot (@bot) on behalf of Ada (@ada) changed the task: title from Launch to Lift-off"
        )
        assert (event["actor"]["handle"], event["on_behalf_of"]["handle"]) == ("bot", "ada")
        assert event["reason"] == "as agreed"


def test_events_of_a_plan_contain_reason_and_principal(fixtures, as_):
    headers = {"X-On-Behalf-Of": "@ada", "X-Reason": "trial"}
    plan = as_(fixtures.bot).plan("patch", PATH, {"title": "Lift-off"}, headers=headers)

    (event,) = plan["events"]
    assert (event["on_behalf_of"]["handle"], event["reason"]) == ("ada", "trial")
    assert "on behalf of Ada (@ada)" in event["sentence"]
    assert title_of(fixtures) == "Launch"


def test_admin_history_shows_reason_and_principal(fixtures, as_):
    rename(as_(fixtures.bot), {"X-On-Behalf-Of": "@ada", "X-Reason": "as agreed"})
    with inside(fixtures.acme):
        fixtures.boss.user.set_password("correct horse battery")
        fixtures.boss.user.save()
    staff = sign_in("boss@acme.example")

    page = staff.get(f"/admin/tasks/task/{fixtures.task.pk}/history/").content.decode()
    event = staff.get(f"/admin/audit/event/{last_event(fixtures).pk}/change/").content.decode()

    for text in (page, event):
        assert "bot (@bot) on behalf of Ada (@ada)" in text
        assert "as agreed" in text
    for path in ("/admin/", "/admin/audit/event/"):
        assert "on behalf of Ada (@ada)" in staff.get(path).content.decode()


# ---- with other headers -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other", [{"X-Reason": "another"}, {"X-On-Behalf-Of": "@eve"}, {"X-On-Behalf-Of": None}]
)
def test_retry_with_other_attribution_is_another_request(fixtures, as_, other):
    client = as_(fixtures.boss)
    first = {"Idempotency-Key": "k1", "X-Reason": "because", "X-On-Behalf-Of": "@bob"}
    again = {name: value for name, value in {**first, **other}.items() if value is not None}
    assert rename(client, first).status_code == 200

    r = rename(client, again)

    assert (r.status_code, r.json()["code"]) == (422, "idempotency_key_reused")


def test_retry_with_the_same_attribution_is_replayed(fixtures, as_):
    client = as_(fixtures.boss)
    by_handle = {"Idempotency-Key": "k1", "X-Reason": "a b", "X-On-Behalf-Of": "@bob"}
    by_id = by_handle | {"X-Reason": "a%20b", "X-On-Behalf-Of": str(fixtures.bob.user.pk)}

    first, again = rename(client, by_handle), rename(client, by_id)

    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.content == first.content


@pytest.mark.parametrize("name", ["boss", "bot"])
def test_retry_after_the_named_user_was_deactivated_is_replayed(fixtures, as_, name):
    """Or, for an agent, after another user has become responsible."""
    client, named = as_(getattr(fixtures, name)), fixtures.ada.user
    headers = {"Idempotency-Key": "k1", "X-On-Behalf-Of": "@ada"}
    first = rename(client, headers)
    assert first.status_code == 200
    with inside(fixtures.acme):
        if name == "boss":
            deactivate_user(fixtures.boss, named)
        else:
            update_user(fixtures.boss, fixtures.bot.user, responsible=fixtures.carl.user)

    again, new = rename(client, headers), rename(client, headers | {"Idempotency-Key": "k2"})

    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert new.status_code == 403


@override_settings(CORS_ALLOWED_ORIGINS=["https://app.example"])
def test_preflight_request_allows_both_headers(db):
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "PATCH"}

    allowed = ApiClient().options(PATH, headers=headers).headers["Access-Control-Allow-Headers"]

    assert {"x-reason", "x-on-behalf-of"} <= set(allowed.split(", "))


def test_openapi_document_declares_both_headers_for_writes():
    for name, (method, _path, operation) in OPERATIONS.items():
        declared = [p["name"] for p in operation.get("parameters", ()) if p["in"] == "header"]
        count = int(method != "get" and bool(operation.get("security")))

        assert declared.count("X-Reason") == declared.count("X-On-Behalf-Of") == count, name
