"""Codes of failures that PostgreSQL cannot report itself. They have the form of a SQLSTATE, in the
classes 08 (connection) and 53 (resources), with digits that PostgreSQL does not use.
"""

from __future__ import annotations

SILENT = "08T01"  # no answer in time
NO_FREE_CONNECTION = "53T01"  # of the pool of this process
# How the message begins when a transaction has held SQLite's writer for too long.
WRITER_HELD = "the transaction has held the writer"
