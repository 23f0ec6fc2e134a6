"""The card “Start here” of the first page, while there is no project."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from accounts.tests.factories import UserFactory
from conftest import new_tenant, sign_in_browser
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database


def first_page(actor, user) -> str:
    client = Client(SERVER_NAME=f"{actor.tenant.subdomain}.localhost")
    with inside(actor.tenant):
        sign_in_browser(client, user)
    return client.get("/admin/").content.decode()


def card_of(page: str) -> str:
    return re.search(r'aria-labelledby="start-here".*?</section>', page, re.DOTALL)[0]


@pytest.mark.slow
def test_administrator_of_a_new_tenant_gets_links_that_lead_to_pages(db):
    boss = new_tenant("initech", "boss")

    card = card_of(first_page(boss, boss.user))

    client = Client(SERVER_NAME="initech.localhost")
    with inside(boss.tenant):
        sign_in_browser(client, boss.user)
    addresses = re.findall(r'href="([^"]+)"', card)
    assert len(addresses) == 4
    assert [client.get(address).status_code for address in addresses] == [200] * 4


def test_form_of_a_new_project_suggests_its_creator_as_owner(db):
    boss = new_tenant("initech", "boss")
    client = Client(SERVER_NAME="initech.localhost")
    with inside(boss.tenant):
        sign_in_browser(client, boss.user)

    form = client.get("/admin/tasks/project/add/").context["adminform"].form

    assert form["owner"].value() == boss.user.pk


def test_card_is_gone_when_there_is_a_project(fixtures):
    assert 'id="start-here"' not in first_page(fixtures.boss, fixtures.boss.user)


def test_person_without_rights_gets_only_the_steps_that_are_allowed(db):
    boss = new_tenant("initech", "boss")
    user = UserFactory(actor=boss, handle="eve")

    card = card_of(first_page(boss, user))

    assert "Create a project" in card
    assert "Invite people" not in card
    assert "Add people" not in card


def test_installation_without_mail_invites_nobody(db, settings):
    """The page of a new invitation would refuse to send it."""
    settings.SENDS_MAIL = False
    boss = new_tenant("initech", "boss")

    card = card_of(first_page(boss, boss.user))

    assert "Invite people" not in card
    assert 'href="/admin/accounts/user/add/">Add people</a>' in card
