"""Logs on stdout, one JSON object per line.

Only the fields below are written. Headers, bodies and query strings may contain secrets.
docs/monitoring.md describes the fields.
"""

from __future__ import annotations

import json
import logging
import os
import re
from datetime import UTC, datetime

# These values are not logged, so they need not be determined (“Optimization” in Python's docs).
logging._srcfile = None
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
REQUEST_FIELDS = (
    "request_id",
    "tenant",
    "user",
    "token",  # its id
    "client",
    "method",
    "path",
    "operation",
    "status",
    "code",
    "ms",
    "queue_ms",
    "db_ms",
    "lock_ms",
    "statements",
    "bytes",
    "slow",
    "frozen_ms",
    "cpu_ms",
    "reason",
)
# Clients may send a token where none belongs, such as in a path. It also begins some messages of
# exceptions.
TOKEN = re.compile(r"(t[fm])_[0-9]+_[0-9A-Za-z]+")
# Characters that JSON does not escape, and that end a line for some programs (NEL, LS, PS), control
# a terminal (C1), or change the order in which text is shown.
UNSAFE = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
MAX_PATH_LENGTH = 1_000  # characters; readers of logs cut lines of 8 to 48 KB, which ends the JSON
encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


def has_traceback(record: logging.LogRecord) -> bool:
    """Return whether the record describes an exception. Its message alone would repeat another."""
    return record.exc_info is not None


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "worker": os.getpid(),
        }
        line |= {name: record.__dict__[name] for name in REQUEST_FIELDS if name in record.__dict__}
        if len(path := str(line.get("path", ""))) > MAX_PATH_LENGTH:
            line["path"] = f"{path[:MAX_PATH_LENGTH]}…"
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return UNSAFE.sub(escape, TOKEN.sub(r"\1_…", encode(line)))


def escape(match: re.Match[str]) -> str:
    """Return a character as JSON writes it in ASCII. It stands in a string."""
    return f"\\u{ord(match[0]):04x}"
