"""
OpenTelemetry: `opentelemetry-instrument python manage.py serve` traces requests and statements.

The agent's packages for databases see only cursors, which most statements do not use. So spans of
statements are made here. Without the agent, this module does nothing. taskflow/tracing_agent.py
passes the agent on to the server.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from taskflow.tracing_agent import AGENT

SYSTEMS = {"postgresql": "postgresql", "sqlite": "sqlite"}  # in the words of OpenTelemetry


def trace_statements() -> None:
    """Make a span for each statement of all connections from now on, if this program is traced."""
    if AGENT in sys.modules:
        connection_created.connect(add_tracer)


def add_tracer(connection: BaseDatabaseWrapper, **kwargs: object) -> None:
    """Add the tracer to a connection, once."""
    if not any(isinstance(wrapper, StatementTracer) for wrapper in connection.execute_wrappers):
        connection.execute_wrappers.append(StatementTracer(connection.vendor))


class StatementTracer:
    """Django calls it for each statement. The span has the SQL, and never the values in it.

    On PostgreSQL, a statement whose result is not needed is sent with the next one, so its span
    shows when it was queued.
    """

    def __init__(self, vendor: str) -> None:
        trace = import_module("opentelemetry.trace")  # the agent has installed it
        self.tracer, self.kind = trace.get_tracer("taskflow"), trace.SpanKind.CLIENT
        self.system = SYSTEMS.get(vendor, vendor)

    def __call__(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        text = str(sql)
        name = (text.split(maxsplit=1) or ["SQL"])[0].upper()
        attributes = {"db.system.name": self.system, "db.query.text": text}
        with self.tracer.start_as_current_span(name, kind=self.kind, attributes=attributes):
            return execute(sql, params, many, context)
