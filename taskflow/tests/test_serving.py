"""The server process: its options, its start and its greeting."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

import dj_database_url
import pytest
from django.core.management import CommandError, call_command
from django.core.signals import request_finished
from django.db import connection
from django.db.utils import ConnectionHandler
from django.test import RequestFactory

from accounts.models import Tenant
from taskflow import serving
from taskflow.db.description import describe_database
from taskflow.env import find_data_directory
from taskflow.management.commands import serve
from taskflow.tests.server import ROOT, free_port
from taskflow.wsgi import application
from tasks.seeding.logins import DEMO_EMAIL, DEMO_PASSWORD

pytestmark = pytest.mark.one_database


@pytest.fixture
def get(db):
    """get(path) returns the response body of the WSGI application, and a list that gets an entry when
    the request is finished."""
    ends = []

    def note(**kwargs):
        ends.append(kwargs)

    def get_path(path):
        environ = RequestFactory().get(path, headers={"Host": "localhost"}).environ
        return application(environ, lambda status, headers: None), ends

    request_finished.connect(note)
    yield get_path
    request_finished.disconnect(note)


def test_response_is_one_part_and_the_request_is_finished_at_once(get):
    body, ends = get("/livez")

    assert isinstance(body, list)
    assert b"".join(body)
    assert len(ends) == 1


def test_server_process_can_import_taskflow_from_any_directory(monkeypatch):
    started = []
    monkeypatch.setattr(os, "execve", lambda *how: started.append(how))

    serve.serve("127.0.0.1", 8000, 2, "Hello", migrates=True)

    ((program, arguments, environment),) = started
    assert program == sys.executable
    *arguments, descriptor = arguments[1:]
    assert arguments == ["-P", "-m", "taskflow.serving", "127.0.0.1", "8000", "2", "--greeting"]
    with os.fdopen(int(descriptor)) as file:
        assert os.get_inheritable(file.fileno())
        assert file.read() == "Hello"
    assert environment["MALLOC_MMAP_THRESHOLD_"] == "1048576"
    finding = [program, "-c", "import taskflow.serving"]
    assert subprocess.run(finding, env=environment, cwd="/", check=False).returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--port", "0"], "--port must be between 1 and 65535, not 0."),
        (["--port", "65536"], "--port must be between 1 and 65535, not 65536."),
        (["--host", "localhost"], "--host must be an IP address, not 'localhost'."),
        (["--host", "127.0.0.256"], "--host must be an IP address, not '127.0.0.256'."),
        (["--workers", "0"], "--workers must be 1 or more."),
    ],
)
def test_invalid_option_of_serve_is_refused_in_one_sentence(options, message):
    with pytest.raises(CommandError) as raised:
        call_command("serve", *options)

    assert str(raised.value) == message


def test_server_finds_code_through_the_link_that_names_it(monkeypatch, tmp_path):
    """Otherwise it would load the former release after an upgrade."""
    (tmp_path / "release").mkdir()
    (tmp_path / "current").symlink_to(tmp_path / "release")

    monkeypatch.setattr(sys, "argv", [str(tmp_path / "current/manage.py"), "serve"])
    assert serve.find_code() == tmp_path / "current"
    monkeypatch.setattr(sys, "argv", ["pytest"])
    assert serve.find_code() == ROOT


def test_serving_without_migrating_refuses_a_database_that_lacks_migrations(db, monkeypatch):
    monkeypatch.setattr(serve, "find_unapplied_migrations", lambda: ["migration x is not applied"])
    monkeypatch.setattr(sys, "argv", ["manage.py", "serve"])
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")

    with pytest.raises(CommandError) as raised:
        call_command("serve", "--no-migrate", "--port", str(free_port()))

    assert str(raised.value) == (
        "The database is not up to date (migration x is not applied)."
        " Run: /usr/bin/python3 manage.py migrate"
    )


def test_serving_without_migrating_refuses_a_database_of_another_version(db, monkeypatch):
    monkeypatch.setattr(serve, "find_incompatibility", lambda connection: "A newer version.")

    with pytest.raises(CommandError, match="A newer version"):
        call_command("serve", "--no-migrate", "--port", str(free_port()))


def test_current_database_is_served_without_migrating(db, monkeypatch):
    started = []
    monkeypatch.setattr(serve, "call_command", None)  # which would migrate
    monkeypatch.setattr(connection, "close", lambda: None)
    monkeypatch.setattr(serve, "serve", lambda *how, migrates: started.append(migrates))

    call_command("serve", "--no-migrate", "--port", str(free_port()))

    assert started == [False]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_taken_port_is_refused_in_one_sentence(host):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        try:
            taken.bind((host, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(CommandError) as raised:
            call_command("serve", "--host", host, "--port", str(port))

    assert str(raised.value).startswith(f"Port {port} on {host} cannot be used (Address already")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "described"),
    [
        ("sqlite:////srv/tasks.sqlite3", "/srv/tasks.sqlite3"),
        ("sqlite:///tasks.sqlite3", f"{os.getcwd()}/tasks.sqlite3"),
        (
            "postgres://ada:hunter2@db.example:5433/tasks",
            "the PostgreSQL database tasks on db.example, port 5433",
        ),
        (
            "postgres://ada:hunter2@%2Frun%2Fpostgresql/tasks?pool=true",
            "the PostgreSQL database tasks on /run/postgresql",
        ),
        ("postgres:///tasks", "the PostgreSQL database tasks"),
    ],
)
def test_greeting_names_the_location_of_the_data(url, described):
    database = ConnectionHandler({"default": dj_database_url.parse(url)})["default"]

    assert describe_database(database) == described


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.slow
def test_the_greeting_shows_the_demo_only_with_debug(db, settings, debug):
    call_command("seed", verbosity=0)
    settings.DEBUG = debug

    greeting = serve.build_greeting("http://127.0.0.1:8001", 8001)

    assert "TaskFlow is on http://127.0.0.1:8001" in greeting
    for shown in (DEMO_EMAIL, DEMO_PASSWORD, "tf_", "Data stays in"):
        assert (shown in greeting) is debug


@pytest.mark.parametrize("subdomains", [[], ["platform"], ["platform", "initech"]])
def test_greeting_without_a_tenant_says_how_to_create_one(db, monkeypatch, subdomains):
    """The operators' own tenant does not count: nobody else can sign in there."""
    monkeypatch.setattr(sys, "argv", ["manage.py", "serve"])
    for subdomain in subdomains:
        Tenant.objects.create(name=subdomain, subdomain=subdomain)

    greeting = serve.build_greeting("http://127.0.0.1:8001", 8001)

    assert ("manage.py create_tenant" in greeting) == ("initech" not in subdomains)


@pytest.mark.parametrize(
    ("executable", "program", "in_path", "typed"),
    [
        ("{here}/.venv/bin/python", "manage.py", False, ".venv/bin/python manage.py"),
        ("/usr/bin/python3", "manage.py", False, "/usr/bin/python3 manage.py"),
        ("/v/bin/python", "/a b/manage.py", False, "/v/bin/python '/a b/manage.py'"),
        ("/v/bin/python", "{here}/bin/taskflow", True, "taskflow"),
        ("/v/bin/python", "/opt/bin/taskflow", False, "/opt/bin/taskflow"),
        ("/v/bin/python", "/x/command_line.py", False, "/v/bin/python -m taskflow.command_line"),
        ("/v/bin/python", "/x/serving.py", False, "/v/bin/python -m taskflow.command_line"),
        ("/v/bin/python", "-c", False, "/v/bin/python -m taskflow.command_line"),
        ("{here}/v/bin/python", "/b/gunicorn", True, "v/bin/python -m taskflow.command_line"),
    ],
)
def test_greeting_names_a_command_that_works_as_typed(
    db, monkeypatch, tmp_path, executable, program, in_path, typed
):
    program = program.format(here=tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", executable.format(here=tmp_path))
    monkeypatch.setattr(sys, "argv", [program, "serve"])
    monkeypatch.setattr(shutil, "which", lambda name: program if in_path else None)

    greeting = serve.build_greeting("http://127.0.0.1:8001", 8001)

    assert greeting.endswith(f"Create one: {typed} create_tenant")


def test_data_is_beside_the_code_of_a_checkout_and_in_the_home_directory_of_others(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert find_data_directory(tmp_path) == tmp_path / "home/.local/share/taskflow"
    (tmp_path / "manage.py").touch()
    assert find_data_directory(tmp_path) == tmp_path / "var"


@pytest.mark.slow
def test_greeting_names_the_kind_of_the_database_in_use(db, settings):
    call_command("seed", verbosity=0)
    settings.DEBUG = True
    name = str(connection.settings_dict["NAME"])
    expected = {
        "sqlite": f"Data stays in {name}",
        "postgresql": f"Data stays in the PostgreSQL database {name}",
    }

    greeting = serve.build_greeting("http://127.0.0.1:8001", 8001)

    assert expected[connection.vendor] in greeting


def test_a_port_without_a_server_does_not_answer():
    assert not serving.is_answering("127.0.0.1", free_port())


def test_signal_to_a_process_that_has_just_ended_leaves_its_exit_code(monkeypatch):
    wait, signalled = os.waitpid, threading.Event()

    def wait_later(pid, options):
        signalled.wait(20)
        return wait(pid, options)

    async def signal_after_end() -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "raise SystemExit(3)")
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        serving.signal_process(process, signal.SIGTERM)
        signalled.set()
        return await process.wait()

    monkeypatch.setattr(os, "waitpid", wait_later)

    assert asyncio.run(signal_after_end()) == 3


def test_server_can_be_imported_before_the_settings():
    """The process that starts the workers needs neither Django's settings nor its apps."""
    environment = {k: v for k, v in os.environ.items() if k != "DJANGO_SETTINGS_MODULE"}
    modules = "import taskflow.serving, taskflow.worker_pool, taskflow.tests.server"

    subprocess.run([sys.executable, "-c", modules], cwd=ROOT, env=environment, check=True)
