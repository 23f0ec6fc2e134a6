"""`run_scheduled`: do what time brings. For installations with TASKFLOW_SCHEDULE=0."""

from __future__ import annotations

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from tasks.models import ScheduledRun
from tasks.scheduled.registry import TIMED_TASKS
from tasks.scheduled.runner import Scheduler


class Command(BaseCommand):
    help = (
        "Run timed tasks, such as the purge of the trash, until a signal ends it. Several"
        " processes, also beside `serve`, share the work."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        modes = parser.add_mutually_exclusive_group()
        modes.add_argument("--once", action="store_true", help="Run what is due, and end.")
        names = [task.name for task in TIMED_TASKS]
        modes.add_argument("--task", choices=names, help="Run this task now, due or not, and end.")
        modes.add_argument("--list", action="store_true", help="Show when each task was run.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            self.list_tasks()
            return
        scheduler = Scheduler(TIMED_TASKS)
        if options["task"]:
            has_succeeded = scheduler.run_now(options["task"])
        elif options["once"]:
            has_succeeded = scheduler.run_due()
        else:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: scheduler.stop())
            scheduler.run()
            return
        if not has_succeeded:
            raise CommandError("A task has failed. The log has the reason.")

    def list_tasks(self) -> None:
        """Write a line for each task: its interval, its last success, and when it is due."""
        rows = {row.name: row for row in ScheduledRun.objects.all()}
        for task in TIMED_TASKS:
            row = rows.get(task.name) or ScheduledRun(name=task.name)
            minutes = round(task.every.total_seconds() / 60)
            last = f"{row.succeeded_at:%Y-%m-%d %H:%M:%S UTC}" if row.succeeded_at else "never"
            is_due = row.can_begin(timezone.now())
            due = "now" if is_due else f"{row.due_at:%Y-%m-%d %H:%M:%S UTC}"
            failed = f", failed {row.failures} times since then" if row.failures else ""
            self.stdout.write(
                f"{task.name}: every {minutes} minutes, last success {last}{failed}, due {due}"
            )
