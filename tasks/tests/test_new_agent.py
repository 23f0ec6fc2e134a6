"""The page that adds an agent with a token for one project."""

from __future__ import annotations

import pytest

from accounts.models import ApiToken, User
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.models import ProjectMember
from tasks.tests.test_task_page import client, rows

pytestmark = pytest.mark.one_database
__all__ = ["client", "rows"]
PAGE = "/admin/accounts/user/new-agent/"


def test_agent_becomes_a_member_and_its_token_is_bound_to_the_project(rows, client):
    sent = {"handle": "helper", "full_name": "Helper", "project": rows.web.pk, "scope": "read"}

    page = client.post(PAGE, sent)

    with inside(rows.root.tenant):
        agent = User.objects.get(handle="helper")
        token = ApiToken.objects.get(user=agent)
        assert ProjectMember.objects.filter(user=agent, project=rows.web, role="member").exists()
    assert (agent.kind, agent.responsible_id) == ("agent", rows.root.user.pk)
    assert (token.scope, token.project_ids) == ("read", [rows.web.pk])
    assert page.context["issued"] == [(token, page.context["issued"][0][1])]


def test_refused_agent_leaves_nothing_behind_and_the_form_says_why(rows, client):
    page = client.post(PAGE, {"handle": "ada", "project": rows.web.pk, "scope": "write"})

    assert page.context["form"].errors
    with inside(rows.root.tenant):
        assert not User.objects.filter(kind="agent").exists()


def test_heading_leads_back_to_the_users(rows, client):
    heading = client.get(PAGE).content.decode().split("<h1")[1].split("</h1>")[0]

    assert 'href="/admin/accounts/user/"' in heading
    assert "Add agent" in heading


def test_list_of_today_has_what_the_user_has_done_today(rows, client):
    day = {"actor__id__exact": rows.ada.user.pk, "day": "today"}
    with inside(rows.root.tenant):
        events = list(Event.objects.filter(actor=rows.ada.user).order_by("-pk"))

    page = client.get("/admin/audit/event/", day)

    assert [event.pk for event in page.context["cl"].result_list] == [e.pk for e in events]
    assert "day=today" in client.get("/admin/accounts/user/").content.decode()
