"""Under opentelemetry-instrument, requests and statements are traced. The agent is replaced here."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import pytest
from django.db import connection
from django.db.backends.signals import connection_created

from conftest import ApiClient, token_of
from taskflow import serving
from taskflow.management.commands import serve
from taskflow.telemetry import StatementTracer, add_tracer, trace_statements
from taskflow.tracing_agent import AGENT, find_agent


@pytest.fixture
def agent(monkeypatch):
    """The folder of the agent, under which this process runs now."""
    module = ModuleType(AGENT)
    module.__file__ = "/agent/auto_instrumentation/__init__.py"
    monkeypatch.setitem(sys.modules, AGENT, module)
    return "/agent/auto_instrumentation"


@pytest.fixture
def spans(monkeypatch):
    """Each span as its name and its attributes."""
    made = []

    @contextmanager
    def start(name, kind, attributes):
        assert kind == "client"
        made.append((name, attributes))
        yield

    trace = ModuleType("opentelemetry.trace")
    trace.SpanKind = SimpleNamespace(CLIENT="client")
    trace.get_tracer = lambda name: SimpleNamespace(start_as_current_span=start)
    monkeypatch.setitem(sys.modules, "opentelemetry", ModuleType("opentelemetry"))
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", trace)
    return made


@pytest.fixture
def traced_connection(db, spans):
    before = connection.execute_wrappers.copy()
    add_tracer(connection)
    yield
    connection.execute_wrappers[:] = before


def test_each_statement_of_a_request_has_a_span_without_its_values(
    fixtures, spans, traced_connection
):
    token = token_of(fixtures.ada)
    spans.clear()

    r = ApiClient(token).patch(f"/tasks/{fixtures.task.pk}", {"title": "a secret title"})

    assert r.status_code == 200
    names = [name for name, _ in spans]
    assert {"SELECT", "UPDATE", "INSERT"} <= set(names)
    assert "secret" not in str(spans)
    assert token not in str(spans)
    assert {attributes["db.system.name"] for _, attributes in spans} == {connection.vendor}
    assert any('UPDATE "tasks_task"' in a["db.query.text"] for _, a in spans)


@pytest.mark.parametrize(("sql", "name"), [("select 1", "SELECT"), ("", "SQL"), ("\n(x", "(X")])
def test_span_is_named_by_the_first_word_of_its_statement(spans, sql, name):
    result = StatementTracer("sqlite")(lambda *a: a, sql, None, False, {})

    assert result == (sql, None, False, {})
    assert spans[0][0] == name


def test_connection_that_is_made_again_is_traced_once(traced_connection):
    before = connection.execute_wrappers.copy()

    add_tracer(connection)

    assert connection.execute_wrappers == before


def test_connections_are_traced_only_under_the_agent(monkeypatch, agent):
    connected = []
    monkeypatch.setattr(connection_created, "connect", connected.append)

    trace_statements()
    assert connected == [add_tracer]

    monkeypatch.delitem(sys.modules, AGENT)
    trace_statements()
    assert len(connected) == 1


def test_server_process_gets_the_agent_back_which_has_left_the_environment(monkeypatch, agent):
    started = []
    monkeypatch.setattr(os, "execve", lambda *how: started.append(how))
    monkeypatch.setenv("PYTHONPATH", "/other")

    serve.serve("127.0.0.1", 8000, 2, "Hello", migrates=True)

    for environment in (started[0][2], serving.environment()):
        paths = environment["PYTHONPATH"].split(os.pathsep)
        assert (paths[0], paths[-1]) == (agent, "/other")


def test_without_the_agent_nothing_is_added_to_the_path():
    assert find_agent() == []
