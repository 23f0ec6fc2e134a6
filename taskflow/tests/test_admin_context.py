"""What the templates of all pages of the admin show: what is always the same is computed once."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser
from django.test import RequestFactory
from django.utils import translation
from unfold.sites import UnfoldAdminSite

from conftest import sign_in_browser
from taskflow.admin import sites
from taskflow.admin.sites import PER_REQUEST, list_menu
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("path", ["/admin/", "/admin/tasks/task/?o=1"])
def test_constants_are_what_unfold_computes(fixtures, language, path):
    with inside(fixtures.acme), translation.override(language):
        for user in (AnonymousUser(), fixtures.boss.user, fixtures.ada.user):
            actor = next((a for a in (fixtures.boss, fixtures.ada) if a.user == user), None)
            request = RequestFactory().get(path)
            request.user, request.actor = user, actor
            request.permissions, request.missing_permission = {}, None
            request.admin_tenant = fixtures.acme
            site = admin.site._wrapped

            theirs = UnfoldAdminSite.each_context(site, request)
            ours = site.each_context(request)

            assert ours.keys() == theirs.keys() - {"log_entries"}
            for name in theirs.keys() - PER_REQUEST:
                assert ours[name] == theirs[name], name


def test_menu_marks_the_page_that_is_open_and_counts_when_it_is_shown(fixtures, client):
    client.defaults["SERVER_NAME"] = "acme.localhost"
    with inside(fixtures.acme):
        sign_in_browser(client, fixtures.ada.user)

    page = client.get("/admin/tasks/tag/")

    items = [item for group in page.context["sidebar_navigation"] for item in group["items"]]
    assert [str(item["link"]) for item in items if item["active"]] == ["/admin/tasks/tag/"]
    text = page.content.decode()
    assert text.count('aria-current="page"') == 1
    assert "/admin/accounts/tenant/" not in text


def test_addresses_of_the_menu_are_computed_once_in_a_process(fixtures, browser, monkeypatch):
    browser.get("/admin/tasks/tag/")
    monkeypatch.setattr(sites, "resolve", lambda path: pytest.fail(f"{path} is resolved again"))

    page = browser.get("/admin/tasks/tag/")

    items = [item for group in page.context["sidebar_navigation"] for item in group["items"]]
    assert {type(item["link"]) for item in items} == {str}
    assert list_menu() is list_menu()


def test_panel_of_filters_is_loaded_when_it_is_opened(fixtures, browser):
    address = "/admin/tasks/task/?status__exact=todo"
    page = browser.get(address).content.decode()
    panel = browser.get(address, headers={"HX-Target": "filter-panel"}).content.decode()

    assert 'id="filter-form"' not in page
    assert f'hx-get="{address}"' in page
    assert 'id="filter-form"' in panel
    assert 'name="assignee__id__exact"' in panel
    assert "<html" not in panel
