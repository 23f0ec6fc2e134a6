"""Idempotency-Key: a write happens once, however often it is sent."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import time_machine
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from accounts import idempotency
from accounts.idempotency import RECORD_LIFETIME, delete_expired_records
from accounts.models import ApiToken, IdempotencyRecord
from conftest import PASSWORD, ApiClient, build_fixtures, token_of
from taskflow.tenancy import inside
from taskflow.tests.concurrency import at_once, held_open
from tasks.api import tasks as task_api
from tasks.models import Task


def send(client, method, path, body=None, key="k1", **headers):
    headers = {"Idempotency-Key": key, **headers}
    if method in ("get", "delete"):
        return getattr(client, method)(path, headers=headers)
    return getattr(client, method)(path, body, headers=headers)


def post_task(client, fixtures, key="k1", **values):
    body = {"project_id": fixtures.apollo.pk, "title": "once"} | values
    return send(client, "post", "/tasks", body, key)


def titles(fixtures):
    with inside(fixtures.acme):
        return list(Task.objects.order_by("pk").values_list("title", flat=True))


# ---- once ---------------------------------------------------------------------------------------


def test_retry_gets_the_first_response_and_writes_nothing(fixtures, as_, events):
    client = as_(fixtures.ada)

    first = post_task(client, fixtures)
    count = len(events(fixtures.acme))
    again = post_task(client, fixtures)

    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    for name in ("ETag", "Location", "Content-Type"):
        assert again.headers[name] == first.headers[name]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"
    assert (titles(fixtures), len(events(fixtures.acme))) == (["Launch", "once"], count)


def test_retry_gets_the_first_response_after_later_changes(fixtures, as_):
    client = as_(fixtures.ada)
    first = post_task(client, fixtures)
    client.delete(f"/tasks/{first.json()['id']}")

    assert post_task(client, fixtures).json() == first.json()


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("patch", "/tasks/APO-1", {"title": "x"}, 200),
        ("put", "/tasks/APO-1", {"title": "x"}, 200),
        ("put", "/projects/APO/tasks/by-ref/r", {"title": "x"}, 201),
        ("post", "/tasks/APO-1/completion", None, 200),
        ("delete", "/tasks/APO-1", None, 204),
        ("post", "/projects", {"name": "P", "tasks": [{"title": "t"}]}, 201),
        ("post", "/tasks/bulk", {"operations": [{"op": "delete", "id": "APO-1"}]}, 200),
    ],
)
def test_every_method_accepts_an_idempotency_key(fixtures, as_, events, method, path, body, status):
    client = as_(fixtures.ada)

    first = send(client, method, path, body)
    count = len(events(fixtures.acme))
    again = send(client, method, path, body)

    assert (first.status_code, again.status_code) == (status, status), first.content
    assert (again.content, len(events(fixtures.acme))) == (first.content, count)


def test_reads_ignore_the_idempotency_key(fixtures, as_):
    r = send(as_(fixtures.ada), "get", "/tasks/APO-1")

    assert r.status_code == 200
    with inside(fixtures.acme):
        assert not IdempotencyRecord.objects.exists()


def test_keys_are_per_user(fixtures, as_):
    post_task(as_(fixtures.ada), fixtures)

    r = post_task(as_(fixtures.bob), fixtures)

    assert (r.status_code, "Idempotency-Replayed" in r.headers) == (201, False)
    assert titles(fixtures) == ["Launch", "once", "once"]


def test_another_token_with_the_same_rights_gets_the_stored_response(fixtures, as_):
    post_task(as_(fixtures.ada), fixtures)

    assert post_task(as_(fixtures.ada), fixtures).headers["Idempotency-Replayed"] == "true"


# ---- refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/tasks", {"project_id": 1, "title": "other"}),
        ("post", "/tasks?dry_run=false", {"project_id": 1, "title": "once"}),
        ("post", "/projects", {"project_id": 1, "title": "once"}),
        ("patch", "/tasks/APO-1", {"title": "once"}),
    ],
)
def test_key_reused_for_another_request_is_refused(fixtures, as_, method, path, body):
    client = as_(fixtures.ada)
    post_task(client, fixtures)

    r = send(client, method, path, body)

    assert (r.status_code, r.json()["code"]) == (422, "idempotency_key_reused")
    assert titles(fixtures) == ["Launch", "once"]


def test_token_with_fewer_rights_does_not_get_the_stored_response(fixtures, as_):
    post_task(as_(fixtures.ada), fixtures)

    for limited in (
        as_(fixtures.ada, "write"),
        as_(fixtures.ada, project_ids=[fixtures.apollo.pk]),
    ):
        r = post_task(limited, fixtures)

        assert (r.status_code, r.json()["code"]) == (422, "idempotency_key_reused")


def test_refused_request_can_be_corrected_and_sent_with_the_same_key(fixtures, as_):
    """A refused request wrote nothing, so its response is not stored."""
    client = as_(fixtures.ada)

    refused = post_task(client, fixtures, title="")
    corrected = post_task(client, fixtures)

    assert (refused.status_code, corrected.status_code) == (422, 201)
    with inside(fixtures.acme):
        assert IdempotencyRecord.objects.count() == 1


def test_failed_request_can_be_repeated_with_the_same_key(fixtures, as_, monkeypatch):
    client = as_(fixtures.ada)
    with monkeypatch.context() as broken:
        broken.setattr(task_api, "updated_response", None)

        assert post_task(client, fixtures).status_code == 500

    assert titles(fixtures) == ["Launch"]
    assert post_task(client, fixtures).status_code == 201


@pytest.mark.parametrize("key", ["", " ", '""', "x" * 256, "ä", 'a"b', "a b"])
def test_invalid_idempotency_key_is_refused(fixtures, as_, key):
    r = post_task(as_(fixtures.ada), fixtures, key=key)

    assert (r.status_code, r.json()["code"]) == (400, "bad_idempotency_key"), key
    assert titles(fixtures) == ["Launch"]


def test_idempotency_key_with_and_without_quotes_is_the_same(fixtures, as_):
    client = as_(fixtures.ada)
    post_task(client, fixtures, key='"k 1"')
    post_task(client, fixtures, key="k1")

    assert post_task(client, fixtures, key='"k1"').headers["Idempotency-Replayed"] == "true"


def test_too_large_body_with_a_key_is_refused(fixtures, as_):
    r = post_task(as_(fixtures.ada), fixtures, description="x" * 1_100_000)

    assert (r.status_code, r.json()["code"]) == (413, "too_large")


# ---- kept for a day -----------------------------------------------------------------------------


def test_key_can_be_used_for_another_request_after_a_day(fixtures, as_):
    client = as_(fixtures.ada)
    post_task(client, fixtures)
    later = timezone.now() + RECORD_LIFETIME + timedelta(minutes=1)

    with time_machine.travel(later, tick=False):
        r = post_task(client, fixtures, title="other")

    assert (r.status_code, titles(fixtures)) == (201, ["Launch", "once", "other"])


def test_deleting_expired_records_keeps_the_others(fixtures, as_):
    client = as_(fixtures.ada)
    post_task(client, fixtures, key="old")
    with time_machine.travel(timezone.now() + RECORD_LIFETIME + timedelta(minutes=1), tick=False):
        post_task(client, fixtures, key="new")
        with inside(fixtures.acme):
            assert delete_expired_records() == 1
            assert [kept.key for kept in IdempotencyRecord.objects.all()] == ["new"]


def test_storing_a_response_deletes_expired_records(fixtures, as_, monkeypatch):
    client = as_(fixtures.ada)
    post_task(client, fixtures, key="old")
    monkeypatch.setattr(idempotency, "CLEANUP_INTERVAL", 1)

    with time_machine.travel(timezone.now() + RECORD_LIFETIME + timedelta(minutes=1), tick=False):
        post_task(client, fixtures, key="hundredth")

    with inside(fixtures.acme):
        assert [kept.key for kept in IdempotencyRecord.objects.all()] == ["hundredth"]


def test_purge_deletes_expired_records(fixtures, as_):
    post_task(as_(fixtures.ada), fixtures)

    with time_machine.travel(timezone.now() + RECORD_LIFETIME + timedelta(minutes=1), tick=False):
        call_command("purge")

    with inside(fixtures.acme):
        assert not IdempotencyRecord.objects.exists()


# ---- secrets ------------------------------------------------------------------------------------


def test_retried_token_creation_returns_the_same_token_and_stores_no_text(fixtures, as_):
    client = as_(fixtures.ada)

    first = send(client, "post", "/tokens", {"name": "t"})
    again = send(client, "post", "/tokens", {"name": "t"})

    text = first.json()["token"]
    assert again.json() == first.json()
    assert ApiClient(text).get("/me").status_code == 200
    with inside(fixtures.acme):
        assert ApiToken.objects.filter(name="t").count() == 1
        assert text not in IdempotencyRecord.objects.get().body


def test_stored_response_contains_no_password(fixtures, as_):
    body = {"email": "new@acme.example", "password": PASSWORD, "full_name": "New"}

    assert send(as_(fixtures.boss), "post", "/users", body).status_code == 201

    with inside(fixtures.acme):
        stored = json.dumps(list(IdempotencyRecord.objects.values()), default=str)
    assert PASSWORD not in stored


# ---- at once ------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_requests_with_one_key_at_once_write_once():
    live = build_fixtures()
    token = token_of(live.ada)

    responses = at_once(*[lambda: post_task(ApiClient(token), live)] * 8)

    assert {r.status_code for r in responses} == {201}
    assert len({r.content for r in responses}) == 1
    assert sum("Idempotency-Replayed" not in r.headers for r in responses) == 1
    assert titles(live) == ["Launch", "once"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.slow
def test_retry_during_a_running_request_gets_409_with_retry_after():
    if connection.vendor == "sqlite":
        pytest.skip("on SQLite, writers wait for the file lock first")
    live = build_fixtures()
    token = token_of(live.ada)

    def first_call():
        IdempotencyRecord.objects.create(user_id=live.ada.user.pk, key="k1")

    with held_open(live.acme, first_call):
        r = post_task(ApiClient(token), live)

    assert (r.status_code, r.json()["code"]) == (409, "in_progress")
    assert r.headers["Retry-After"] == "1"
    assert titles(live) == ["Launch"]
