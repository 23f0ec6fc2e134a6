"""`backup`: write all tenants to one file, while the server runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection

from accounts.models import Tenant
from taskflow.db.description import describe_database
from tasks.export.backup import write_backup
from tasks.export.verifying import describe_error
from tasks.management.files import write_whole_file
from tasks.management.progress import ProgressBar


class Command(BaseCommand):
    help = (
        "Write all tenants to one new file, while the server runs. `restore` reads it, on either"
        " database. It contains password hashes and token digests, but not the secret key."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="The new file, readable only by you.")

    def handle(self, *args: Any, **options: Any) -> None:
        require_tenant()
        bar = ProgressBar(0, "rows")
        try:
            with write_whole_file(Path(options["file"])) as file:
                counts = write_backup(file, bar.advance, self.stderr.write)
        except DatabaseError as error:
            raise CommandError(
                f"Nothing was written, the database refused it: {describe_error(error)}"
            ) from None
        bar.finish()
        self.stdout.write(
            f"Wrote {sum(counts.values()):,} rows of {counts['accounts.tenant']} tenant(s) in"
            f" {bar.seconds:.1f} s, from {describe_database(connection)}."
            " Keep the secret key too: the file does not contain it."
        )


def require_tenant() -> None:
    """Raise CommandError if the database has no tenant.

    It is another database then than that of the installation: DATABASE_URL or TASKFLOW_DATA_DIR is
    not set, for example in a script that runs every night.
    """
    if not Tenant.objects.exists():
        raise CommandError(
            f"Nothing was written, there is no tenant in {describe_database(connection)}."
            " Set DATABASE_URL or TASKFLOW_DATA_DIR as for the server."
        )
