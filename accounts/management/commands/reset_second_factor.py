"""Remove the second factor of a user who has lost the app and the recovery codes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.actions.second_factors import reset_second_factor
from accounts.models import Tenant, User
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.tenancy import inside


class Command(BaseCommand):
    help = (
        "Remove the second factor of a user, so that the password is enough to sign in, or to enrol"
        " a new one. First make sure who is asking."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="The subdomain of the tenant.")
        parser.add_argument("email", help="The e-mail of the user.")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = Tenant.objects.filter(subdomain=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"There is no tenant “{options['tenant']}”.")
        operator = Actor(User(is_superuser=True), tenant, via=Via.COMMAND)
        with inside(tenant):
            user = User.objects.filter(email=options["email"].lower()).first()
            if user is None:
                raise CommandError(f"{tenant.name} has no user with the e-mail {options['email']}.")
            if not reset_second_factor(operator, user):
                raise CommandError(f"{user} has no second factor.")
        self.stdout.write(f"The second factor of {user} is removed.")
