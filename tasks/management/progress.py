"""A progress bar for long commands."""

from __future__ import annotations

import sys
import time

REDRAW_INTERVAL = 0.2  # seconds


class ProgressBar:
    """A progress bar on standard error, drawn only if that is a terminal."""

    def __init__(self, total: int, unit: str) -> None:
        """`total` is the expected number of units, `unit` their name in the plural."""
        self.total, self.unit, self.done = total, unit, 0
        self.started = time.perf_counter()
        self.drawn_at = 0.0  # seconds since the start

    @property
    def seconds(self) -> float:
        """The time since the start, in seconds; never 0."""
        return max(time.perf_counter() - self.started, 0.001)

    def advance(self, amount: int) -> None:
        """Count `amount` more units as done."""
        self.done += amount
        if sys.stderr.isatty() and self.seconds - self.drawn_at > REDRAW_INTERVAL:
            self.drawn_at = self.seconds
            self.draw()

    def draw(self) -> None:
        rate = self.done / self.seconds
        left = (self.total - self.done) / rate if rate else 0
        filled = "█" * (30 * self.done // max(self.total, 1))
        done = f"{self.done:,} {self.unit}, {rate:,.0f}/s, {left:.0f} s left"
        sys.stderr.write(f"\r{filled:░<30} {done} ")

    def finish(self) -> None:
        if sys.stderr.isatty():
            self.draw()
            sys.stderr.write("\n")
