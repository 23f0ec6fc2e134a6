"""`seed`: create the demo. `seed --tenants N --tasks M`: create rows for benchmarks."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any, TextIO

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from taskflow.db.setup_lock import hold_setup_lock
from tasks.management.progress import ProgressBar
from tasks.seeding.benchmark import is_benchmark_seeded, seed_benchmark
from tasks.seeding.demo import is_demo_seeded, seed_demo
from tasks.seeding.logins import DEMO_EMAIL, OPERATOR_EMAIL


class Command(BaseCommand):
    help = "Fill the database with a small demo, or with rows for benchmarks."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenants", type=int, help="Number of benchmark tenants.")
        parser.add_argument("--tasks", type=int, help="Number of benchmark tasks of all tenants.")
        parser.add_argument("--tokens", help="Write “tenant-id token” lines to this new file.")

    def handle(self, *args: Any, **options: Any) -> None:
        tenants, tasks = options["tenants"], options["tasks"]
        if tenants is None and tasks is None:
            self.seed_the_demo()
        elif tenants is None or tasks is None:
            raise CommandError("Give both --tenants and --tasks, or neither for the demo.")
        else:
            self.seed_for_benchmarks(tenants, tasks, options["tokens"])

    def seed_the_demo(self) -> None:
        # Behind a pooler a session has no lock of its own.
        with nullcontext() if settings.POOLER else hold_setup_lock(connection):
            seeded = None if is_demo_seeded() else seed_demo()
        if seeded is None:
            self.stdout.write("The demo exists already; nothing was changed.")
            return
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

    def seed_for_benchmarks(self, tenants: int, tasks: int, tokens: str | None) -> None:
        if tenants < 1 or tasks < 0:
            raise CommandError("Give at least one tenant and no negative number of tasks.")
        if is_benchmark_seeded():
            raise CommandError("Benchmark tenants exist already. Start with an empty database.")
        file = open_privately(tokens) if tokens else None
        bar = ProgressBar(tasks, "tasks")
        created = seed_benchmark(tenants, tasks, bar.advance)
        bar.finish()
        if file:
            with file:
                file.writelines(f"{tenant.pk} {token}\n" for tenant, token in created)
        seconds = bar.seconds
        self.stdout.write(
            f"Seeded {tenants} tenants with {tasks:,} tasks in {seconds:.1f} s:"
            f" {tasks / seconds:,.0f} tasks a second, each with its event."
        )


def open_privately(path: str) -> TextIO:
    """Create a file that only its owner can read. Raises CommandError if it exists."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w")
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}. Name a new file.") from None
