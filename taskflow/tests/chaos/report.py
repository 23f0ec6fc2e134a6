"""The table that `make chaos` prints: one row for each promise, with its figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

# Promises that the server does not keep yet: the first words of the fault, the database, and the first
# words of the promise. Such a row is marked and does not fail the run. A row that is listed here and
# is kept fails it, so that the list becomes shorter.
KNOWN_SHORTFALLS: set[tuple[str, str, str]] = set()


@dataclass
class Row:
    fault: str
    database: str
    promise: str
    figure: str
    is_kept: bool | None  # None: it could not be measured here

    @property
    def is_known_shortfall(self) -> bool:
        return any(
            self.fault.startswith(fault) and self.database == name and self.promise.startswith(text)
            for fault, name, text in KNOWN_SHORTFALLS
        )

    @property
    def verdict(self) -> str:
        if self.is_kept is None:
            return "not run"
        if self.is_kept:
            return "kept, remove it from KNOWN_SHORTFALLS" if self.is_known_shortfall else "kept"
        return "SHORTFALL, known" if self.is_known_shortfall else "BROKEN"


@dataclass
class Report:
    """Collects the rows and prints each as soon as it is known."""

    rows: list[Row] = field(default_factory=list)
    show: Callable[[str], None] = lambda line: print(line, flush=True)

    def begin(self) -> None:
        self.show("| fault | database | promise | measured | |\n|---|---|---|---|---|")

    def add(
        self, fault: str, database: str, promise: str, figure: str, *, is_kept: bool | None
    ) -> None:
        row = Row(fault, database, promise, figure, is_kept)
        self.rows.append(row)
        self.show(f"| {fault} | {database} | {promise} | {figure} | {row.verdict} |")

    @property
    def has_failed(self) -> bool:
        """Return whether a promise is broken, or kept although it is listed as a shortfall."""
        return any(
            row.is_kept is not None and row.is_kept == row.is_known_shortfall for row in self.rows
        )
