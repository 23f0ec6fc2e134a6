"""`export`: write a whole tenant to one file."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from accounts.models import Tenant
from tasks.export.exporting import count_rows, export_tenant
from tasks.export.verifying import describe_error
from tasks.management.files import write_whole_file
from tasks.management.progress import ProgressBar


class Command(BaseCommand):
    help = (
        "Write a tenant as JSON lines, to standard output or a file. The export contains password"
        " hashes and token digests: keep it secret."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="The subdomain of the tenant.")
        parser.add_argument("--output", help="The new file, readable only by you.")
        parser.add_argument(
            "--without-secrets", action="store_true", help="Leave out passwords and tokens."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = Tenant.objects.filter(subdomain=options["tenant"]).first()
        if tenant is None:
            raise CommandError(f"There is no tenant “{options['tenant']}”.")
        try:
            bar = ProgressBar(count_rows(tenant), "rows")
            with _open(options["output"]) as file:
                counts = export_tenant(
                    tenant,
                    file,
                    bar.advance,
                    with_secrets=not options["without_secrets"],
                    note=self.stderr.write,
                )
                file.flush()
        except DatabaseError as error:
            raise CommandError(
                f"The database refused the export: {describe_error(error)}"
            ) from None
        except OSError as error:  # of standard output
            raise CommandError(f"The export is incomplete: {error.strerror}.") from None
        bar.finish()
        rows = sum(counts.values())
        self.stderr.write(f"Exported {rows:,} rows of {tenant.name} in {bar.seconds:.1f} s.")


def _open(path: str | None) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdout.buffer) if path is None else write_whole_file(Path(path))
