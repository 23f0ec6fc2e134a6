"""The tenant of a request does not stay with a thread or connection, even after an error."""

from __future__ import annotations

import random
import threading

import pytest
from django.db import connection, connections
from django.http import StreamingHttpResponse
from django.test import RequestFactory

from accounts.middleware import TenantMiddleware
from conftest import ApiClient, build_fixtures, token_of
from taskflow import tenancy
from taskflow.tenancy import TenantError, inside
from tasks.api import responses as documents
from tasks.api import tasks as task_api
from tasks.models import Task

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.isolation]

THREADS, REQUESTS = 6, 25


@pytest.mark.slow
def test_concurrent_requests_of_two_tenants_are_isolated():
    fixtures = build_fixtures()
    sides = {
        "acme": (token_of(fixtures.boss), "Launch", fixtures.secret_task.pk),
        "globex": (token_of(fixtures.mallory), "Plot", fixtures.task.pk),
    }
    wrong: list[str] = []

    def work(side: str, seed: int) -> None:
        token, title, foreign = sides[side]
        client, chance = ApiClient(token), random.Random(seed)
        for number in range(REQUESTS):
            kind = chance.choice(["list", "foreign", "create", "bad", "anonymous"])
            if kind == "list":
                titles = {t["title"] for t in client.get("/tasks?limit=200").json()["data"]}
                if not titles <= {title, side}:
                    wrong.append(f"{side} saw {titles}")
            elif kind == "foreign" and client.get(f"/tasks/{foreign}").status_code != 404:
                wrong.append(f"{side} reached {foreign}")
            elif kind == "create":
                project = client.get("/projects").json()["data"][0]["id"]
                r = client.post("/tasks", {"project_id": project, "title": side})
                if r.status_code not in (201, 503):
                    wrong.append(f"{side} create {r.status_code} {r.content!r}")
            elif kind == "bad" and client.post("/tasks", {"title": number}).status_code != 422:
                wrong.append(f"{side} bad input")
            elif kind == "anonymous" and ApiClient().get("/tasks").status_code != 401:
                wrong.append("anonymous was let in")
            if tenancy.current_tenant_id() is not None:
                wrong.append(f"{side} left its scope open")
        connections.close_all()

    threads = [
        threading.Thread(target=work, args=(side, seed))
        for seed, side in enumerate(["acme", "globex"] * (THREADS // 2))
    ]
    [t.start() for t in threads]
    [t.join() for t in threads]

    assert wrong == []
    with inside(fixtures.acme):
        assert not Task.objects.filter(title="globex").exists()


def test_connection_has_no_tenant_after_a_request():
    fixtures = build_fixtures()
    client = ApiClient(token_of(fixtures.boss))

    for path, status in (("/tasks", 200), ("/tasks?bad=1", 422), ("/tasks/999999", 404)):
        assert client.get(path).status_code == status
        assert tenancy.current_tenant_id() is None
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT coalesce(current_setting('taskflow.tenant', true), ''),"
                    " current_user = session_user"
                )
                assert cursor.fetchone() == ("", True)


def cut_off(fixtures):
    """Close the connection on the side of the server, as a restart does."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 2000)", [pid])
    other.close()


@pytest.mark.skipif("connection.vendor != 'postgresql'")
def test_closed_connection_is_replaced(monkeypatch):
    fixtures = build_fixtures()
    client = ApiClient(token_of(fixtures.boss))
    assert client.get("/tasks/APO-1").status_code == 200

    cut_off(fixtures)

    connection.close_if_unusable_or_obsolete()  # as at the start of a request; the client does not
    assert client.get("/tasks/APO-1").status_code == 200


@pytest.mark.skipif("connection.vendor != 'postgresql'")
def test_connection_lost_during_a_request_gets_503(monkeypatch):
    fixtures = build_fixtures()
    client = ApiClient(token_of(fixtures.boss))
    original = documents.task_response

    def then_cut_off(*args):
        cut_off(fixtures)
        return original(*args)

    for _ in range(3):
        assert client.get("/tasks/APO-1").status_code == 200
    with monkeypatch.context() as broken:
        broken.setattr(task_api, "task_response", then_cut_off)
        r = client.get("/tasks/APO-1")

    assert (r.status_code, r.json()["code"]) == (503, "unavailable")
    connection.close()
    assert client.get("/tasks/APO-1").status_code == 200


def test_refusal_after_a_write_rolls_it_back(monkeypatch):
    """The unit of work is rolled back if the response is an error, whatever code built it."""
    fixtures = build_fixtures()
    request = RequestFactory().get(
        "/api/v1/tasks", headers={"Authorization": f"Bearer {token_of(fixtures.boss)}"}
    )

    def write_then_refuse(request):
        with inside(fixtures.acme):
            Task.objects.all().update(title="half done")
        return ApiClient().get("/nowhere")

    assert TenantMiddleware(write_then_refuse)(request).status_code == 404
    with inside(fixtures.acme):
        assert Task.objects.get().title == "Launch"


def test_streamed_response_without_its_own_unit_of_work_is_refused():
    fixtures = build_fixtures()
    request = RequestFactory().get(
        "/api/v1/tasks", headers={"Authorization": f"Bearer {token_of(fixtures.boss)}"}
    )
    stream = StreamingHttpResponse(t.title for t in ())

    with pytest.raises(TenantError, match="outlives its transaction"):
        TenantMiddleware(lambda request: stream)(request)
