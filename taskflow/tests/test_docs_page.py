"""The docs page works without the network and under its own content security policy."""

from __future__ import annotations

import json
import re

import pytest
from django.conf import settings
from django.test import Client

pytestmark = pytest.mark.one_database


@pytest.fixture
def page(db):
    return Client(SERVER_NAME="localhost").get("/api/v1/docs")


def test_docs_page_contains_the_csrf_token(page):
    token = page.cookies[settings.CSRF_COOKIE_NAME].value

    sent = re.search(r'data-csrf-token="([^"]+)"', page.content.decode())[1]

    assert page.status_code == 200
    assert len(sent) > len(token), "masked anew on each page"
    assert 'data-api-csrf="true"' in page.content.decode()


def test_docs_page_has_its_own_content_security_policy(page):
    html, policy = page.content.decode(), page.headers["Content-Security-Policy"]

    assert "'unsafe-inline'" not in re.search(r"script-src[^;]*", policy)[0]
    assert not re.search(r"<script(?![^>]*(src=|application/json))", html)
    assert not re.search(r"\son\w+=", html), "no inline handlers"
    assert not re.search(r'(src|href)="(https?:)?//', html), "nothing from elsewhere"


def test_docs_page_loads_the_openapi_document(page):
    settings_text = re.search(
        r'<script type="application/json" id="swagger-settings">(.*?)</script>',
        page.content.decode(),
        re.DOTALL,
    )[1]

    url = json.loads(settings_text)["url"]
    r = Client(SERVER_NAME="localhost").get(url)

    assert (r.status_code, r.json()["openapi"]) == (200, "3.1.0")


def test_assets_of_the_docs_page_are_served(page):
    for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', page.content.decode()):
        served = Client(SERVER_NAME="localhost").get(asset)
        assert served.status_code == 200, asset
        served.close()
