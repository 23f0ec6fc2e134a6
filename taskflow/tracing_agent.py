"""Whether this program runs under opentelemetry-instrument. Imports nothing of Django."""

from __future__ import annotations

import os
import sys

AGENT = "opentelemetry.instrumentation.auto_instrumentation"


def find_agent() -> list[str]:
    """Return the folder with which PYTHONPATH must begin to trace a program that this one starts.

    The agent leaves the environment when it starts. No folder if this program is not traced.
    """
    agent = sys.modules.get(AGENT)
    return [os.path.dirname(str(agent.__file__))] if agent else []
