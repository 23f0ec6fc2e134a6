"""Create a tenant and its owner: the first step on a new installation."""

from __future__ import annotations

import os
import secrets
import sys
from getpass import getpass
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.actions.password_resets import issue_first_password_link
from accounts.actions.tenants import create_tenant_as_operator
from accounts.models import Tenant
from accounts.schemas.sign_in import Registration
from taskflow.audit.actor import Actor
from taskflow.http.errors import Problem
from taskflow.http.parsing import check_values
from taskflow.mail.links import STANDARD_PORTS, build_link

PASSWORD_VARIABLE = "TENANT_OWNER_PASSWORD"  # noqa: S105 - its name
ANY_PASSWORD = secrets.token_urlsafe()  # to check the other values
UNCHANGED = "Nothing was changed."
# What has to be given: the option and the prompt of each value.
REQUIRED = {
    "tenant_name": ("name", "Name of the tenant"),
    "full_name": ("full_name", "Name of the owner"),
    "email": ("email", "E-mail of the owner"),
}


class Command(BaseCommand):
    help = (
        "Create a tenant and its owner, who is the first administrator. What is not given is asked"
        " for. The password is read from standard input or from the environment; otherwise a link"
        " is printed with which the owner sets one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", help="The name that people see.")
        parser.add_argument(
            "--subdomain",
            help="The DNS label of its host, in lower case. By default that of the default tenant,"
            f" “{settings.DEFAULT_TENANT}”, which hosts without a subdomain lead to.",
        )
        parser.add_argument("--email", help="The owner's e-mail, to sign in with.")
        parser.add_argument("--full-name", help="The owner's name.")
        parser.add_argument(
            "--password-stdin",
            action="store_true",
            help="Read the password from the first line of standard input, instead of from"
            f" {PASSWORD_VARIABLE}.",
        )
        parser.add_argument(
            "--if-missing",
            action="store_true",
            help="Succeed without a change if the subdomain has a tenant, for scripts that run"
            " more than once.",
        )
        parser.add_argument(
            "--noinput", "--no-input", action="store_false", dest="interactive",
            help="Do not ask for anything.",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        from_stdin = options["password_stdin"]
        is_interactive = options["interactive"] and not from_stdin and sys.stdin.isatty()
        subdomain = options["subdomain"] or (is_interactive and ask_for_subdomain())
        subdomain = (subdomain or settings.DEFAULT_TENANT).lower()
        if existing := Tenant.objects.filter(subdomain=subdomain).first():
            self.report_existing(existing, is_error=not options["if_missing"])
            return
        values = {"subdomain": subdomain}
        for name, (option, prompt) in REQUIRED.items():
            values[name] = options[option] or (ask(prompt) if is_interactive else "")
            if not values[name]:
                raise CommandError(f"Give --{option.replace('_', '-')}. {UNCHANGED}")
        password = read_password(from_stdin=from_stdin, is_interactive=is_interactive)
        owner = create(values, password)
        self.report_new(values, None if password else issue_first_password_link(owner))

    def report_existing(self, tenant: Tenant, *, is_error: bool) -> None:
        sentence = f"The tenant “{tenant}” has the subdomain {tenant.subdomain} already."
        if is_error:
            raise CommandError(f"{sentence} {UNCHANGED} Choose another subdomain.")
        self.stdout.write(f"{sentence} {UNCHANGED}")

    def report_new(self, values: dict[str, str], link: str | None) -> None:
        self.stdout.write(
            f"The tenant “{values['tenant_name']}” is created. Its owner, {values['email']}, signs"
            f" in at {build_link(values['subdomain'], '/admin/')}"
        )
        if values["subdomain"] == settings.DEFAULT_TENANT.lower():
            self.stdout.write("It is the default tenant: hosts without a subdomain lead to it.")
        if link is not None:
            self.stdout.write(f"To set the password, open this page once, within a day:\n{link}")
        if not settings.HTTPS and settings.LINK_PORT in STANDARD_PORTS:
            self.stdout.write("Without a proxy, add the port of the server, as in localhost:8000.")


def ask(prompt: str) -> str:
    """Return what the operator enters, in one line."""
    return input(f"{prompt}: ").strip()


def ask_for_subdomain() -> str:
    return ask(f"Subdomain [{settings.DEFAULT_TENANT}]")


def read_password(*, from_stdin: bool, is_interactive: bool) -> str:
    """Return the password that the operator gives; empty for a link to set one."""
    if from_stdin:
        given = sys.stdin.readline().rstrip("\r\n")
        if not given:
            raise CommandError(f"Standard input contains no password. {UNCHANGED}")
        return given
    given = os.environ.get(PASSWORD_VARIABLE, "")
    if not given and is_interactive:
        given = getpass("Password of the owner (empty for a link to set one): ")
        if given and given != getpass("Password again: "):
            raise CommandError(f"The two passwords differ. {UNCHANGED}")
    return given


def create(values: dict[str, str], password: str) -> Actor:
    """Create the tenant by the rules of a registration. Return its owner.

    Without a password, the owner has none. Raises CommandError with what is wrong.
    """
    try:
        checked = check_values(Registration, values | {"password": password or ANY_PASSWORD})
        return create_tenant_as_operator(**(checked | {"password": password or None}))
    except Problem as problem:
        errors = [str(error["detail"]) for error in problem.errors] or [problem.detail]
        raise CommandError(" ".join(errors)) from None
