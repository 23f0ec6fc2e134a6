"""`deliver`: send webhooks until a signal ends it. For installations with TASKFLOW_DELIVER=0."""

from __future__ import annotations

import signal
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tasks.webhooks.deliverer import Deliverer


class Command(BaseCommand):
    help = "Send webhooks. Several processes, also beside `serve`, share the work."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--once", action="store_true", help="End when nothing is due, instead of waiting."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        deliverer = Deliverer()
        if options["once"]:
            deliverer.run_until_idle()
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: deliverer.stop())
        deliverer.run()
