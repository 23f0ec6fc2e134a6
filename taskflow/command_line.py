"""The command `taskflow` of an installed package, and `manage.py` of a checkout.

`python -m taskflow.command_line` is the same.
"""

from __future__ import annotations

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import Error as DatabaseError

from taskflow.db.commits import report_commits_to
from taskflow.db.postgresql.notifications import notify_servers
from taskflow.startup import describe_failure


def main() -> None:
    """Run the command that the arguments name. Exits with one sentence if it cannot start."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskflow.settings")
    report_commits_to(notify_servers)  # of what the command commits
    try:
        execute_from_command_line(sys.argv)
    except (ImproperlyConfigured, DatabaseError) as error:
        sentence = describe_failure(error)
        if sentence is None or "--traceback" in sys.argv:
            raise
        sys.exit(sentence)


if __name__ == "__main__":
    main()
