"""`import`: create a tenant from a file that `export` wrote."""

from __future__ import annotations

import shutil
import sys
import tempfile
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from tasks.export.importing import import_tenant
from tasks.export.verifying import InvalidExport, describe_error, verify
from tasks.management.progress import ProgressBar


class Command(BaseCommand):
    help = "Create a tenant from a file that export wrote. An invalid file changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", help="The file that export wrote; - for standard input.")
        parser.add_argument("--as", dest="subdomain", help="Give the tenant another subdomain.")

    def handle(self, *args: Any, **options: Any) -> None:
        with _open(options["file"]) as file:
            try:
                contents = verify(file)
                bar = ProgressBar(contents.total, "rows")
                tenant, keeps_tokens = import_tenant(
                    file, contents, bar.advance, subdomain=options["subdomain"]
                )
            except InvalidExport as error:
                raise CommandError(str(error)) from None
            except DatabaseError as error:
                raise CommandError(
                    f"Nothing was imported, the database refused it: {describe_error(error)}"
                ) from None
            except OSError as error:
                raise CommandError(f"{options['file']}: {error.strerror}.") from None
        bar.finish()
        self.stdout.write(
            f"Imported {contents.total:,} rows of {tenant.name} as {tenant.subdomain}"
            f" in {bar.seconds:.1f} s."
        )
        for name in contents.renamed_tags.values():
            self.stdout.write(
                f"The name of a tag is now “{name}”, because another tag has an equal name: case"
                " and the form of letters do not count."
            )
        if not keeps_tokens:
            self.stdout.write(
                "The tokens were not imported, because the tenant has a new id. Create new tokens."
            )


def _open(path: str) -> BinaryIO:
    if path == "-":
        spooled = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        shutil.copyfileobj(sys.stdin.buffer, spooled)
        return spooled
    try:
        return open(path, "rb")
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}.") from None
