"""`manage.py create_tenant` creates the first tenant of an installation, and further ones."""

from __future__ import annotations

import io
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.management.commands import create_tenant
from accounts.models import Tenant, User
from conftest import PASSWORD, ApiClient
from taskflow.audit.models import Event
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database

OPTIONS = {"name": "Initech", "subdomain": "initech", "email": "Ira@initech.example",
           "full_name": "Ira"}  # fmt: skip
LINK = re.compile(r"https?://\S+(/admin/password-reset/completion/\?token=(\S+))")


def run(**options: Any) -> str:
    out = io.StringIO()
    call_command("create_tenant", stdout=out, **(OPTIONS | options))
    return out.getvalue()


def sign_in(password: str, subdomain: str = "initech") -> int:
    body = {"email": "ira@initech.example", "password": password, "tenant": subdomain}
    status: int = ApiClient().post("/auth/login", body).status_code
    return status


def test_owner_sets_a_password_with_the_link_that_is_printed(db):
    out = run()

    path, token = LINK.search(out).groups()
    browser = Client(SERVER_NAME="initech.localhost")
    assert browser.get(path).status_code == 200
    browser.post(path, {"token": token, "password": PASSWORD})
    assert sign_in(PASSWORD) == 200
    assert "does not work any more" in browser.get(path).content.decode()
    assert "signs in at http://initech.localhost/admin/" in out
    tenant = Tenant.objects.get()
    with inside(tenant):
        user = User.objects.get()
        assert (user.email, user.full_name) == ("ira@initech.example", "Ira")
        assert user.is_staff
        assert not user.is_superuser
        event = Event.objects.order_by("pk")[0]
        assert (event.verb, event.subject_type, event.via) == ("created", "user", "command")
        assert token not in str(event.changes)


def test_link_of_a_new_owner_works_for_a_day(db, time_machine):
    path, _token = LINK.search(run()).groups()
    browser = Client(SERVER_NAME="initech.localhost")

    time_machine.move_to(datetime.now(UTC) + timedelta(hours=23))
    assert "Choose a new password" in browser.get(path).content.decode()
    time_machine.shift(timedelta(hours=2))
    assert "does not work any more" in browser.get(path).content.decode()


def test_password_is_read_from_standard_input(db, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\nmore\n"))

    out = run(password_stdin=True)

    assert sign_in(PASSWORD) == 200
    assert "password" not in out


def test_password_is_read_from_the_environment(db, monkeypatch):
    monkeypatch.setenv(create_tenant.PASSWORD_VARIABLE, PASSWORD)

    out = run()

    assert sign_in(PASSWORD) == 200
    assert PASSWORD not in out
    assert "password" not in out


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_missing_values_are_asked_for_at_a_terminal(db, monkeypatch, settings):
    settings.DEFAULT_TENANT = "initech"
    answers = iter(["", "Initech", "Ira", "ira@initech.example"])
    prompts: list[str] = []
    passwords = iter([PASSWORD, PASSWORD])
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda prompt: prompts.append(prompt) or next(answers))
    monkeypatch.setattr(create_tenant, "getpass", lambda prompt: next(passwords))

    out = run(**dict.fromkeys(OPTIONS))

    assert prompts == [
        "Subdomain [initech]: ", "Name of the tenant: ", "Name of the owner: ",
        "E-mail of the owner: ",
    ]  # fmt: skip
    assert "It is the default tenant" in out
    assert sign_in(PASSWORD) == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": None}, "Give --name. Nothing was changed."),
        ({"full_name": None}, "Give --full-name. Nothing was changed."),
        ({"email": None}, "Give --email. Nothing was changed."),
        ({"email": "nobody"}, "e-mail"),
        ({"subdomain": "www"}, "“www” cannot be a subdomain"),
        ({"subdomain": "platform"}, "“platform” cannot be a subdomain"),
        ({"subdomain": "xn--cme-7ed"}, "cannot be a subdomain"),
        ({"subdomain": "a.b"}, "only lower-case letters"),
        ({"name": "two\nlines"}, "one line"),
        ({"password": "12345678", "password_stdin": True}, "password"),
        ({"password": "", "password_stdin": True}, "Standard input contains no password."),
    ],
)
def test_wrong_value_is_refused_in_one_sentence_and_changes_nothing(
    db, monkeypatch, options, message
):
    monkeypatch.setattr(sys, "stdin", io.StringIO(options.pop("password", "")))

    with pytest.raises(CommandError, match=re.escape(message)):
        run(**options)

    assert not Tenant.objects.exists()


def test_subdomain_that_has_a_tenant_is_refused(db):
    run()

    with pytest.raises(CommandError) as refused:
        run(name="Other")

    assert str(refused.value) == (
        "The tenant “Initech” has the subdomain initech already. Nothing was changed."
        " Choose another subdomain."
    )
    assert Tenant.objects.get().name == "Initech"


def test_existing_tenant_is_no_error_if_it_is_created_only_if_missing(db):
    run(if_missing=True)

    out = run(if_missing=True)

    assert out == "The tenant “Initech” has the subdomain initech already. Nothing was changed.\n"
    with inside(Tenant.objects.get()):
        assert User.objects.count() == 1


def test_command_line_creates_the_default_tenant_while_registration_is_closed(db, settings):
    settings.REGISTRATION, settings.DEFAULT_TENANT = False, "initech"

    run(subdomain=None)

    assert Tenant.objects.get().subdomain == "initech"
