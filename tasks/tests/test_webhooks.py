"""The operations on webhooks: who may manage them, and what they show."""

from __future__ import annotations

import base64
import json
import logging

import pytest

from accounts.actions.erasure import erase_user
from accounts.actions.users import update_user
from taskflow.audit.models import Event
from taskflow.http.errors import NotFound
from taskflow.logging import JsonFormatter
from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.actions.webhooks import create_webhook, ping, redeliver
from tasks.export.exporting import export_tenant
from tasks.models import Delivery, DeliveryQueue, Webhook

pytestmark = pytest.mark.one_database

URL = "https://hooks.example.com/T0/secret-path"


def create(client, **values):
    return client.post("/webhooks", {"url": URL, "project": "APO"} | values)


@pytest.fixture
def hook(fixtures):
    with inside(fixtures.acme):
        return create_webhook(fixtures.ada, url=URL, project=fixtures.apollo)


def test_created_webhook_shows_its_secret_once(fixtures, as_):
    ada = as_(fixtures.ada)

    r = create(ada, event_types=["task.completed", "task.completed"])

    body = r.json()
    assert r.status_code == 201
    assert r["Location"] == f"/api/v1/webhooks/{body['id']}"
    assert len(base64.b64decode(body["secret"].removeprefix("whsec_"))) == 32
    shown = {n: body[n] for n in ("owner_id", "project_id", "url", "event_types", "state")}
    assert shown == {
        "owner_id": fixtures.ada.user.pk,
        "project_id": fixtures.apollo.pk,
        "url": URL,
        "event_types": ["task.completed"],
        "state": "active",
    }
    read = ada.get(f"/webhooks/{body['id']}").json()
    assert "secret" not in read
    assert read == {n: v for n, v in body.items() if n != "secret"}
    assert DeliveryQueue.objects.filter(pk=fixtures.acme.pk).exists()


def test_retry_with_the_same_key_gets_the_same_secret(fixtures, as_):
    ada, key = as_(fixtures.ada), {"Idempotency-Key": "k"}
    body = {"url": URL, "project": "APO"}

    first, again = (ada.post("/webhooks", body, headers=key).json() for _ in range(2))
    rotated = [
        ada.post(f"/webhooks/{first['id']}/rotation", headers={"Idempotency-Key": "r"}).json()
        for _ in range(2)
    ]

    assert first == again
    assert rotated[0] == rotated[1]
    assert first["secret"] != rotated[0]["secret"]
    with inside(fixtures.acme):
        assert Webhook.objects.count() == 1
        assert Webhook.objects.get().secret == rotated[0]["secret"]


def test_dry_run_creates_no_webhook(fixtures, as_):
    r = as_(fixtures.ada).post("/webhooks?dry_run=true", {"url": URL, "project": "APO"})

    assert (r.status_code, r["Dry-Run"]) == (201, "true")
    with inside(fixtures.acme):
        assert not Webhook.objects.exists()


def test_plan_of_a_webhook_contains_no_url_in_its_events(fixtures, as_):
    plan = as_(fixtures.ada).plan("post", "/webhooks", {"url": URL, "project": "APO"})

    assert plan["status"] == 201
    assert [event["verb"] for event in plan["events"]] == ["webhook.created"]
    assert "hooks.example.com" not in str(plan["events"])


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("http://hooks.example.com/", "https://"),
        ("https://127.0.0.1/", "private network"),
        ("https://2130706433/", "name its host"),
        ("https://①②⑦.⓪.⓪.①/", "ASCII"),
        ("https://ada@hooks.example.com/", "no user name"),
    ],
)
def test_url_that_webhooks_are_not_sent_to_is_refused(fixtures, as_, url, part):
    r = create(as_(fixtures.ada), url=url)

    assert r.status_code == 422
    assert r.json()["errors"][0]["pointer"] == "#/url"
    assert part in r.json()["detail"]


@pytest.mark.parametrize("types", [[], ["completed"], ["task.Completed"], ["task.*"], ["nix.done"]])
def test_unknown_event_type_is_refused(fixtures, as_, types):
    assert create(as_(fixtures.ada), event_types=types).status_code == 422


def test_event_types_and_url_can_be_changed(fixtures, as_, hook):
    r = as_(fixtures.carl).patch(
        f"/webhooks/{hook.pk}", {"event_types": ["comment.created"], "url": f"{URL}/2"}
    )

    assert r.status_code == 200
    assert (r.json()["event_types"], r.json()["url"]) == (["comment.created"], f"{URL}/2")
    assert r.json()["owner_id"] == fixtures.ada.user.pk
    assert as_(fixtures.ada).patch(f"/webhooks/{hook.pk}", {"event_types": None}).status_code == 200


@pytest.mark.slow
def test_member_and_outsider_and_other_tenant_see_no_webhook(fixtures, as_, hook):
    for actor in (fixtures.bob, fixtures.eve, fixtures.mallory):
        client = as_(actor)
        assert client.get("/webhooks").json()["data"] == []
        for path in ("", "/deliveries"):
            assert client.get(f"/webhooks/{hook.pk}{path}").status_code == 404
        for verb in ("rotation", "pause", "resumption", "ping"):
            assert client.post(f"/webhooks/{hook.pk}/{verb}").status_code == 404
        assert client.delete(f"/webhooks/{hook.pk}").status_code == 404
    assert create(as_(fixtures.bob)).status_code == 403
    assert create(as_(fixtures.eve)).status_code == 422


def test_webhook_of_the_tenant_is_for_administrators(fixtures, as_):
    assert as_(fixtures.ada).post("/webhooks", {"url": URL}).status_code == 403
    created = as_(fixtures.boss).post("/webhooks", {"url": URL})

    assert (created.status_code, created.json()["project_id"]) == (201, None)
    assert as_(fixtures.ada).get(f"/webhooks/{created.json()['id']}").status_code == 404


def test_bound_token_reaches_webhooks_of_its_projects_only(fixtures, as_, hook):
    with inside(fixtures.acme):
        other = create_project(fixtures.ada, name="Other", key="OTH")
        hidden = create_webhook(fixtures.ada, url=URL, project=other)
    bound = as_(fixtures.ada, project_ids=[fixtures.apollo.pk])
    boss = as_(fixtures.boss, project_ids=[fixtures.apollo.pk])

    for number, client in enumerate((bound, boss)):
        visible = [w["id"] for w in client.get("/webhooks").json()["data"]]
        assert (visible[-1], len(visible)) == (hook.pk, 1 + number)
        assert client.get(f"/webhooks/{hidden.pk}").status_code == 404
        assert client.post("/webhooks", {"url": URL}).status_code == 403
        assert create(client, project="OTH").status_code == 422
        assert create(client).status_code == 201


def test_token_of_scope_write_manages_no_webhooks(fixtures, as_):
    assert create(as_(fixtures.ada, "write")).status_code == 403


def test_ping_is_in_the_log_of_deliveries(fixtures, as_, hook):
    ada = as_(fixtures.ada)

    r = ada.post(f"/webhooks/{hook.pk}/ping")

    assert (r.status_code, r.json()["event_type"], r.json()["state"]) == (200, "ping", "pending")
    assert ada.get(f"/deliveries/{r.json()['id']}").json() == r.json()
    listed = ada.get(f"/webhooks/{hook.pk}/deliveries?state=pending").json()["data"]
    assert [d["id"] for d in listed] == [r.json()["id"]]
    assert ada.get(f"/webhooks/{hook.pk}/deliveries?state=delivered").json()["data"] == []
    assert as_(fixtures.bob).get(f"/deliveries/{r.json()['id']}").status_code == 404


def test_paused_webhook_is_not_pinged_until_it_is_resumed(fixtures, as_, hook):
    ada = as_(fixtures.ada)

    paused = ada.post(f"/webhooks/{hook.pk}/pause").json()

    assert (paused["state"], paused["pause_reason"]) == ("paused", "requested")
    assert ada.post(f"/webhooks/{hook.pk}/pause").json()["version"] == paused["version"]
    assert ada.post(f"/webhooks/{hook.pk}/ping").status_code == 409
    resumed = ada.post(f"/webhooks/{hook.pk}/resumption").json()
    assert (resumed["state"], resumed["pause_reason"]) == ("active", None)
    assert ada.post(f"/webhooks/{hook.pk}/ping").status_code == 200


def test_webhook_of_a_deactivated_owner_cannot_be_resumed(fixtures, as_, hook):
    as_(fixtures.ada).post(f"/webhooks/{hook.pk}/pause")
    with inside(fixtures.acme):
        update_user(fixtures.boss, fixtures.ada.user, is_active=False)

    assert as_(fixtures.boss).post(f"/webhooks/{hook.pk}/resumption").status_code == 409


def test_redelivery_makes_a_delivery_due_again(fixtures, as_, hook):
    with inside(fixtures.acme):
        delivery = ping(fixtures.ada, hook)
        Delivery.objects.update(state="delivered", finished_at=delivery.created_at)

    r = as_(fixtures.ada).post(f"/deliveries/{delivery.pk}/redelivery")

    assert (r.status_code, r.json()["state"], r.json()["finished_at"]) == (200, "pending", None)
    assert r.json()["message_id"] == delivery.message_id


def test_delivery_that_was_deleted_meanwhile_is_not_found(fixtures, hook):
    with inside(fixtures.acme):
        delivery = ping(fixtures.ada, hook)
        Delivery.objects.all()._raw_delete("default")

        with pytest.raises(NotFound):
            redeliver(fixtures.ada, delivery)


def test_deleted_webhook_takes_its_deliveries_along(fixtures, as_, hook):
    with inside(fixtures.acme):
        ping(fixtures.ada, hook)

    assert as_(fixtures.ada).delete(f"/webhooks/{hook.pk}").status_code == 204
    with inside(fixtures.acme):
        assert not Webhook.objects.exists()
        assert not Delivery.objects.exists()


def test_secret_and_url_are_in_no_event_log_line_or_row(fixtures, as_, caplog):
    caplog.set_level(logging.DEBUG)
    ada = as_(fixtures.ada)
    issued = create(ada).json()
    rotated = ada.post(
        f"/webhooks/{issued['id']}/rotation", headers={"Idempotency-Key": "k"}
    ).json()
    ada.patch(f"/webhooks/{issued['id']}", {"url": f"{URL}/2"})
    ada.delete(f"/webhooks/{issued['id']}")

    with inside(fixtures.acme):
        places = {"events": str(list(Event.objects.values()))}
    places["logs"] = json.dumps([JsonFormatter().format(r) for r in caplog.records])
    for name, text in places.items():
        for secret in (issued["secret"], rotated["secret"], "secret-path"):
            assert secret not in text, name


def test_secret_is_not_stored(fixtures, as_):
    issued = create(as_(fixtures.ada)).json()

    with inside(fixtures.acme):
        assert issued["secret"] not in str(Webhook.objects.values().get())


def test_quota_of_webhooks_is_enforced(fixtures, as_, settings):
    settings.QUOTAS = {"webhooks": 1}
    ada = as_(fixtures.ada)

    assert create(ada).status_code == 201
    assert create(ada).json()["code"] == "quota_exceeded"


def test_export_contains_no_webhook(fixtures, hook, tmp_path):
    with (tmp_path / "export").open("wb") as file:
        export_tenant(fixtures.acme, file, lambda _: None)

    assert b"tasks.webhook" not in (tmp_path / "export").read_bytes()


def test_erasure_of_the_owner_deletes_the_webhook(fixtures, hook):
    with inside(fixtures.acme):
        update_user(fixtures.boss, fixtures.ada.user, is_active=False)
        erase_user(fixtures.boss, fixtures.ada.user)

        assert not Webhook.objects.exists()


def test_erasure_of_another_user_leaves_the_cursor_alone(fixtures, hook):
    with inside(fixtures.acme):
        url = "https://hooks.example.com/@bob"
        Webhook.objects.update(url=url)
        update_user(fixtures.boss, fixtures.bob.user, is_active=False)
        erase_user(fixtures.boss, fixtures.bob.user)

        assert (
            Webhook.objects.get().url == f"https://hooks.example.com/@erased-{fixtures.bob.user.pk}"
        )
