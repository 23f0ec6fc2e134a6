"""Everything `make run` does once the packages are there: migrate, seed the demo, greet, serve."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError, connection

from accounts.models import Tenant
from tasks.seeding.companies import DEMO_TENANT
from tasks.seeding.demo import (
    DEMO_EMAIL,
    DEMO_PASSWORD,
    OPERATOR_EMAIL,
    demo_is_here,
    demo_token,
)

GREETING = """
  TaskFlow is on {base}

  Admin      {base}/admin/              {email}  {password}
  Operator   {platform}/admin/     {operator}  {password}
  API docs   {base}/api/v1/docs
  Token      {token}

  Try it:
  curl -H 'Authorization: Bearer {token}' '{base}/api/v1/tasks?assignee=me&limit=3'

  Stop with Ctrl-C. Data stays in {data}.
"""


class Command(BaseCommand):
    help = "Migrate, seed the demo (with DEBUG on) and serve with granian."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--workers", type=int, default=1)

    def handle(self, *args: Any, **options: Any) -> None:
        host, port = options["host"], options["port"]
        refuse_taken_port(host, port)
        try:
            call_command("migrate", verbosity=0)
        except OperationalError as error:
            raise CommandError(f"The database cannot be reached: {str(error).strip()}") from None
        if settings.DEBUG:
            if not demo_is_here():
                call_command("seed", stdout=self.stdout)
            self.greet(host, port)
        else:
            self.stdout.write(f"TaskFlow is on http://{host}:{port}")
        self.stdout.flush()
        connection.close()
        serve(host, port, options["workers"])

    def greet(self, host: str, port: int) -> None:
        tenant = Tenant.objects.filter(subdomain=DEMO_TENANT).first()
        if tenant is None:
            return
        greeting = GREETING.format(
            base=f"http://{host}:{port}",
            platform=f"http://platform.{settings.DOMAIN}:{port}",
            email=DEMO_EMAIL,
            operator=OPERATOR_EMAIL,
            password=DEMO_PASSWORD,
            token=demo_token(tenant),
            data=settings.DATA_DIR if connection.vendor == "sqlite" else "the database",
        )
        self.stdout.write(greeting)


def refuse_taken_port(host: str, port: int) -> None:
    """Raise CommandError now, rather than let the server say it in a traceback."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} on {host} cannot be used ({error.strerror})."
                f" Try: make run PORT={port + 1}"
            ) from None


def serve(host: str, port: int, workers: int) -> None:
    """Become the server, without what was loaded and filled here."""
    # Else glibc keeps the 16 MiB of a password's hash, in each thread that ever made one.
    environment = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)} | os.environ
    # Wherever the command was given: a supervisor need not be in our folder.
    paths = [str(settings.BASE_DIR), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    arguments = ["-m", "taskflow.serving", host, str(port), str(workers)]
    os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606 - no shell
