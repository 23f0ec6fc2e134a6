"""What the server is given, and how it is found."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from django.core.signals import request_finished
from django.test import RequestFactory
from granian.constants import HTTPModes

from taskflow import serving
from taskflow.management.commands import serve
from taskflow.wsgi import application


@pytest.fixture
def answer(db):
    """Of the WSGI application, with how many requests have been said to be over meanwhile."""
    ends = []

    def note(**kwargs):
        ends.append(kwargs)

    def ask(path):
        environ = RequestFactory().get(path, headers={"Host": "localhost"}).environ
        return application(environ, lambda status, headers: None), ends

    request_finished.connect(note)
    yield ask
    request_finished.disconnect(note)


def test_an_answer_comes_whole_and_ends_the_request(answer):
    body, ends = answer("/livez")

    assert isinstance(body, list)
    assert b"".join(body)
    assert len(ends) == 1


def test_a_file_is_handed_on_in_parts(answer):
    body, ends = answer("/static/unfold/css/styles.css")

    assert not isinstance(body, list)
    assert len(b"".join(body)) > 100_000
    assert ends == []
    body.close()
    assert len(ends) == 1


def test_the_server_is_found_from_any_folder(monkeypatch):
    started = []
    monkeypatch.setattr(os, "execve", lambda *how: started.append(how))

    serve.serve("127.0.0.1", 8000, 2)

    ((program, arguments, environment),) = started
    assert program == sys.executable
    assert arguments[1:] == ["-m", "taskflow.serving", "127.0.0.1", "8000", "2"]
    assert environment["MALLOC_MMAP_THRESHOLD_"] == "1048576"
    finding = [program, "-c", "import taskflow.serving"]
    assert subprocess.run(finding, env=environment, cwd="/", check=False).returncode == 0


def test_the_server_speaks_http_1_only(monkeypatch):
    """In HTTP/2 a body may have no length, and WSGI would pass it over: a DELETE would delete."""
    given = {}

    def granian(application, **options):
        given.update(options)
        return SimpleNamespace(serve=lambda: None)

    monkeypatch.setattr(serving, "Granian", granian)
    monkeypatch.setattr(serving, "load", lambda: None)
    monkeypatch.setattr(serving.multiprocessing, "set_start_method", lambda method: None)

    serving.serve("127.0.0.1", 8000, 1)

    assert given["http"] is HTTPModes.http1
