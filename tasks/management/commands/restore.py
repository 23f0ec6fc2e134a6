"""`restore`: read a file that `backup` wrote into an empty database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection

from taskflow.db.description import describe_database
from taskflow.http.health import find_unapplied_migrations
from tasks.export.backup import restore_backup
from tasks.export.backup_file import compute_key_fingerprint, verify_backup
from tasks.export.verifying import InvalidExport, describe_error
from tasks.management.progress import ProgressBar

OTHER_KEY = (
    "The secret key of this installation is not the one of the backup. Set TASKFLOW_SECRET_KEY, or"
    " the file secret_key in the data directory, to the old key. With another key, retries of"
    " writes from before the backup are refused with 422."
)


class Command(BaseCommand):
    help = (
        "Restore a file that backup wrote into an empty database, on which migrate has run. If"
        " anything fails, nothing is changed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="The file that backup wrote.")
        parser.add_argument(
            "--check", action="store_true", help="Only check that the file is complete."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with open(options["file"], "rb") as file:
                contents = verify_backup(file)
                bar = ProgressBar(contents.total, "rows")
                if not options["check"]:
                    _require_migrated_database()
                    restore_backup(file, contents, bar.advance)
        except InvalidExport as error:
            raise CommandError(str(error)) from None
        except DatabaseError as error:
            raise CommandError(
                f"Nothing was restored, the database refused it: {describe_error(error)}"
            ) from None
        except OSError as error:
            raise CommandError(f"{options['file']}: {error.strerror}.") from None
        bar.finish()
        described = f"{contents.total:,} rows of {contents.counts['accounts.tenant']} tenant(s)"
        if options["check"]:
            self.stdout.write(f"The file is complete: {described}.")
        else:
            target = describe_database(connection)
            self.stdout.write(f"Restored {described} in {bar.seconds:.1f} s, into {target}.")
        if contents.key_fingerprint != compute_key_fingerprint():
            self.stderr.write(OTHER_KEY)


def _require_migrated_database() -> None:
    """Raise CommandError if a migration is missing."""
    if find_unapplied_migrations():
        raise CommandError("The database is not up to date. Run `manage.py migrate` first.")
