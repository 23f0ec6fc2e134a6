"""Logs as one JSON object a line on stdout.

Only named fields are written: never headers, bodies or query strings, which hold secrets.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

# What no line shows is not looked for (Python's logging documentation, “Optimization”).
logging._srcfile = None
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
FIELDS = ("request_id", "tenant", "user", "method", "path", "status", "ms", "reason")
encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: record.__dict__[name] for name in FIELDS if name in record.__dict__}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return encode(line)
