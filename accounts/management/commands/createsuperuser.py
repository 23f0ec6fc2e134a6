"""Create an operator: a user of the platform tenant, who can work in any tenant."""

from __future__ import annotations

import os
from getpass import getpass
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError, transaction

from accounts.actions.tenants import create_operator
from taskflow.http.database_errors import problem_of_database_error
from taskflow.http.errors import Problem

PASSWORD_VARIABLE = "DJANGO_SUPERUSER_PASSWORD"  # noqa: S105 - its name


class Command(BaseCommand):
    help = "Create an operator, who signs in at the host of the platform tenant."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email")
        parser.add_argument("--full-name", default="")
        parser.add_argument(
            "--noinput", "--no-input", action="store_false", dest="interactive",
            help=f"Do not prompt; read the password from {PASSWORD_VARIABLE}.",
        )  # fmt: skip

    def handle(self, *args: Any, **options: Any) -> None:
        email = options["email"] or (input("E-mail: ") if options["interactive"] else "")
        is_interactive = options["interactive"]
        password = prompt_password() if is_interactive else os.environ.get(PASSWORD_VARIABLE, "")
        if not email or not password:
            raise CommandError(f"Give --email, and the password in {PASSWORD_VARIABLE}.")
        try:
            with transaction.atomic():
                create_operator(
                    email=email.lower(), full_name=options["full_name"], password=password
                )
        except Problem as problem:
            raise CommandError(problem.detail) from None
        except IntegrityError as error:
            raise CommandError(problem_of_database_error(error).detail) from None
        self.stdout.write(f"{email} is an operator now. Sign in at the host of “platform”.")


def prompt_password() -> str:
    password = getpass("Password: ")
    if password != getpass("Password again: "):
        raise CommandError("The two passwords differ.")
    return password
