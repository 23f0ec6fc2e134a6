"""What the page that undoes events refuses, and what pages do when transactions collide."""

from __future__ import annotations

import re

import pytest

from taskflow.audit.models import Event
from taskflow.http.unavailable import Contended
from taskflow.tenancy import inside
from tasks.admin import undo
from tasks.admin import users as offboarding
from tasks.changes.tasks import assign_task, update_task
from tasks.tests.test_task_page import address, client, rows

pytestmark = pytest.mark.one_database
__all__ = ["client", "rows"]
UNDO = "/admin/audit/event/undo/"


@pytest.mark.parametrize("until", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_end_that_cannot_be_stored_is_refused(client, until):
    r = client.post(UNDO, {"since": "2026-01-01 00:00", "until": until})

    assert r.status_code == 200
    assert r.context["form"].non_field_errors() == ["Enter a request id, or a user and a time."]


def test_changes_of_a_user_or_of_operators_are_chosen(rows, client):
    with inside(rows.root.tenant):
        update_task(rows.ada, rows.task, priority="high")
    form = {"since": "2026-01-01 00:00"}

    of_ada = client.post(UNDO, form | {"actor": rows.ada.user.pk, "project": rows.task.project_id})
    of_operators = client.post(UNDO, form | {"by_operators": "on"})
    of_both = client.post(UNDO, form | {"actor": rows.ada.user.pk, "by_operators": "on"})

    undo_request = of_ada.context["form"].cleaned_data["undo_request"]
    assert (undo_request.actor, undo_request.project) == (
        str(rows.ada.user.pk), str(rows.task.project_id),
    )  # fmt: skip
    assert of_operators.context["form"].cleaned_data["undo_request"].actor == "none"
    assert of_both.context["form"].errors == {"by_operators": ["Choose a user, or this, not both."]}


@pytest.fixture
def fail_once(monkeypatch):
    """Let the first call of a function of a module fail, as one that a deadlock ends."""

    def change(module, name):
        act, calls = getattr(module, name), []

        def call(*args, **kwargs):
            calls.append(args)
            if len(calls) == 1:
                raise Contended
            return act(*args, **kwargs)

        monkeypatch.setattr(module, name, call)
        return calls

    return change


def test_contended_undo_is_run_again(rows, client, fail_once):
    with inside(rows.root.tenant):
        update_task(rows.ada, rows.task, priority="high")
        event = Event.objects.get(verb="changed")
    calls = fail_once(undo, "undo")

    r = client.post(UNDO, {"event_ids": event.pk})

    assert (r.context["refusal"], len(calls)) == (None, 2)


def test_contended_offboarding_is_run_again(rows, client, fail_once):
    calls = fail_once(offboarding, "offboard_user")

    r = client.post(
        f"/admin/accounts/user/{rows.ada.user.pk}/offboarding/",
        {"hand_over_to": rows.root.user.pk},
    )

    assert (r.status_code, len(calls)) == (302, 2)


def test_undo_button_of_a_message_shows_the_plan(rows, client):
    page = client.post(address(rows.task, "verb"), {"verb": "complete"}, follow=True)
    page = page.content.decode()
    (request_id,) = re.findall(r'form="undo-form" name="request_id" value="([^"]+)"', page)

    plan = client.post(UNDO, {"request_id": request_id})

    assert f'<form id="undo-form" method="post" action="{UNDO}">' in page
    assert plan.context["plan"]["count"] == 1
    assert rows.stored().status == "done"


def test_offboarding_page_shows_the_numbers_before(rows, client):
    with inside(rows.root.tenant):
        assign_task(rows.ada, rows.task, rows.ada.user)

    page = client.get(f"/admin/accounts/user/{rows.ada.user.pk}/offboarding/")

    assert page.context["counts"] == [
        ("Projects, with those in the trash", 2),
        ("Open tasks", 1),
        ("Pages, with those in the trash", 0),
        ("Shared views", 0),
        ("Views that nobody else sees, which are deleted", 0),
        ("Active agents", 0),
        ("Memberships of projects", 2),
        ("Tokens", 0),
    ]
