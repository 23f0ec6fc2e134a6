"""`seed`: the demo. `seed --tenants N --tasks M`: rows for benchmarks."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from tasks.seeding.demo import DEMO_EMAIL, OPERATOR_EMAIL, demo_is_here, seed_demo


class Command(BaseCommand):
    help = "Fill the database with a small demo."

    def handle(self, *args: Any, **options: Any) -> None:
        if demo_is_here():
            self.stdout.write("The demo is here already; nothing changed.")
            return
        seeded = seed_demo()
        self.stdout.write(
            f"Seeded 2 tenants with {seeded.users} people and agents, {seeded.projects} projects"
            f" and {seeded.tasks} tasks."
        )
        if not settings.DEBUG:
            self.stdout.write(
                "Shown once, keep them:\n"
                f"  password of {DEMO_EMAIL}, {OPERATOR_EMAIL} and all others: {seeded.password}\n"
                f"  token of {DEMO_EMAIL}: {seeded.token}"
            )
