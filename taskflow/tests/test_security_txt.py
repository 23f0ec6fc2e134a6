"""/.well-known/security.txt, and the settings behind it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.utils import timezone

from taskflow import env

pytestmark = pytest.mark.one_database

PATH = "/.well-known/security.txt"
CONTACTS = ("mailto:security@example.com", "https://example.com/report")


@pytest.fixture
def fields(settings):
    settings.SECURITY_CONTACT = CONTACTS
    r = Client().get(PATH)
    assert (r.status_code, r.headers["Content-Type"]) == (200, "text/plain; charset=utf-8")
    return [tuple(line.split(": ", 1)) for line in r.content.decode().splitlines()]


def test_page_names_the_contacts_in_their_order(fields):
    assert tuple(value for name, value in fields if name == "Contact") == CONTACTS


def test_page_has_the_fields_that_rfc_9116_requires_once(fields):
    names = [name for name, _value in fields]

    for name in ("Expires", "Preferred-Languages", "Canonical"):
        assert names.count(name) == 1
    assert dict(fields)["Canonical"] == f"http://localhost{PATH}"


def test_page_expires_in_less_than_a_year_and_never_in_the_past(fields):
    expires = datetime.fromisoformat(dict(fields)["Expires"])

    assert timedelta(days=30) < expires - timezone.now() < timedelta(days=365)


def test_page_is_404_without_the_setting(settings):
    settings.SECURITY_CONTACT = ()

    assert Client().get(PATH).status_code == 404


def test_page_is_read_only(settings):
    settings.SECURITY_CONTACT = CONTACTS

    assert Client().post(PATH).status_code == 405
    assert Client().head(PATH).status_code == 200


@pytest.mark.parametrize("text", ["security@example.com", "mailto:", "http://example.com", "x y"])
def test_contact_that_is_no_uri_stops_the_start(monkeypatch, text):
    monkeypatch.setenv("TASKFLOW_SECURITY_CONTACT", text)

    with pytest.raises(ImproperlyConfigured, match=r"mailto:security@example\.com"):
        env.read_contacts("TASKFLOW_SECURITY_CONTACT")


@pytest.mark.parametrize("text", ["", "mailto:a@b.example", "mailto:a@b.example, tel:+49-30-1"])
def test_contacts_are_read_from_a_list(monkeypatch, text):
    monkeypatch.setenv("TASKFLOW_SECURITY_CONTACT", text)

    contacts = env.read_contacts("TASKFLOW_SECURITY_CONTACT")

    assert ", ".join(contacts) == text
