"""Logs on stdout, one JSON object per line.

Only the fields below are written. Headers, bodies and query strings may contain secrets.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

# These values are not logged, so they need not be determined (“Optimization” in Python's docs).
logging._srcfile = None
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
REQUEST_FIELDS = ("request_id", "tenant", "user", "method", "path", "status", "ms", "reason")
encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: record.__dict__[name] for name in REQUEST_FIELDS if name in record.__dict__}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return encode(line)
