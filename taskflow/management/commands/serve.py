"""The command of `make run`: migrate, seed the demo, print a greeting and serve."""

from __future__ import annotations

import os
import socket
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from accounts.models import PLATFORM, Tenant
from taskflow.database_version import find_incompatibility
from taskflow.db.description import describe_database
from taskflow.http.health import find_unapplied_migrations
from taskflow.program import name_program
from taskflow.tracing_agent import find_agent
from tasks.seeding.companies import DEMO_TENANT
from tasks.seeding.demo import demo_token, is_demo_seeded
from tasks.seeding.logins import DEMO_EMAIL, DEMO_PASSWORD, OPERATOR_EMAIL

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
NO_TENANT = "There is no tenant yet, so nobody can sign in. Create one: {program} create_tenant"


class Command(BaseCommand):
    help = "Migrate, seed the demo (with DEBUG on) and serve with granian."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--workers", type=int, default=1)
        parser.add_argument(
            "--probe-port",
            type=int,
            default=settings.PROBE_PORT,
            help="for /metrics, /livez and /readyz; by default TASKFLOW_PROBE_PORT",
        )
        parser.add_argument(
            "--no-migrate",
            action="store_true",
            help="Refuse to start when migrations are missing, instead of applying them.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        host, port, workers = options["host"], options["port"], options["workers"]
        if workers < 1:
            raise CommandError("--workers must be 1 or more.")
        check_port(host, port)
        if options["probe_port"]:
            os.environ["TASKFLOW_PROBE_PORT"] = str(options["probe_port"])  # for the server
            check_probe_port(options["probe_port"], port)
        if options["no_migrate"]:
            refuse_missing_migrations()
        else:
            self.stdout.write("Setting up the database…")  # the first start takes a while
            self.stdout.flush()
            call_command("migrate", verbosity=0)
        if settings.DEBUG and not is_demo_seeded():
            call_command("seed", stdout=self.stdout)
        if settings.DEBUG:  # without a proxy, so that links in mails need the port
            os.environ.setdefault("TASKFLOW_LINK_PORT", str(port))
        greeting = build_greeting(f"http://{format_host(host)}:{port}", port)
        self.stdout.flush()
        connection.close()
        serve(host, port, workers, greeting, migrates=not options["no_migrate"])


def refuse_missing_migrations() -> None:
    """Raise CommandError if this code cannot serve the database as it is. Changes nothing."""
    if sentence := find_incompatibility(connection):
        raise CommandError(sentence)
    if missing := find_unapplied_migrations():
        raise CommandError(
            f"The database is not up to date ({missing[0]}). Run: {name_program()} migrate"
        )


def build_greeting(base: str, port: int) -> str:
    """Return the text to print when the server answers.

    With DEBUG on, it contains the logins of the demo and a token. Without a tenant, it says how to
    create one.
    """
    if not Tenant.objects.exclude(subdomain=PLATFORM).exists():
        return f"TaskFlow is on {base}\n{NO_TENANT.format(program=name_program())}"
    tenant = Tenant.objects.filter(subdomain=DEMO_TENANT).first() if settings.DEBUG else None
    if tenant is None:
        return f"TaskFlow is on {base}"
    return GREETING.format(
        base=base,
        platform=f"http://platform.{settings.DOMAIN}:{port}",
        email=DEMO_EMAIL,
        operator=OPERATOR_EMAIL,
        password=DEMO_PASSWORD,
        token=demo_token(tenant),
        data=describe_database(connection),
    )


def format_host(host: str) -> str:
    """Return an IP address as it is written in a URL."""
    return f"[{host}]" if ":" in host else host


def check_port(host: str, port: int) -> None:
    """Raise CommandError if host or port cannot be used. The server would print a traceback."""
    if not 1 <= port <= 65_535:
        raise CommandError(f"--port must be between 1 and 65535, not {port}.")
    try:
        address = ip_address(host)
    except ValueError:
        raise CommandError(f"--host must be an IP address, not {host!r}.") from None
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            other = port + 1 if 1024 <= port < 65_535 else 8000
            raise CommandError(
                f"Port {port} on {host} cannot be used ({error.strerror})."
                f" Try another one: make run PORT={other}, or serve --port {other}"
            ) from None


def check_probe_port(port: int, public_port: int) -> None:
    """Raise CommandError if the port for probes cannot be used."""
    if port == public_port:
        raise CommandError("--probe-port must be another port than --port.")
    try:
        check_port(settings.PROBE_HOST, port)
    except CommandError as error:
        reason = str(error).partition(" Try another")[0]
        raise CommandError(f"The port for probes is wrong. {reason}") from None


def serve(host: str, port: int, workers: int, greeting: str, *, migrates: bool) -> None:
    """Replace this process by the server. This frees the memory that the command has used."""
    # Without this setting, glibc keeps 16 MiB for each thread that has hashed a password.
    environment = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)} | os.environ
    # The command may be run from any folder, for example by a supervisor.
    others = filter(None, [os.environ.get("PYTHONPATH")])
    paths = [*find_agent(), str(find_code()), *others]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    arguments = ["-P", "-m", "taskflow.serving", host, str(port), str(workers)]
    arguments += ["--greeting", str(write_to_pipe(greeting))]
    arguments += [] if migrates else ["--no-migrate"]
    os.execve(sys.executable, [sys.executable, *arguments], environment)  # noqa: S606 - no shell


def find_code() -> Path:
    """Return the folder of manage.py as it was named: it may lead through a symbolic link.

    An upgrade points the link to another release, which the server loads on SIGHUP.
    """
    named = Path(os.path.abspath(sys.argv[0]))
    return named.parent if named.name == "manage.py" else settings.BASE_DIR


def write_to_pipe(text: str) -> int:
    """Return a file descriptor from which the program that replaces this one can read the text.

    The text contains a token. In arguments or the environment, other users could read it.
    """
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as file:
        file.write(text)  # a pipe holds at least 4 KiB
    os.set_inheritable(read_end, True)
    return read_end
