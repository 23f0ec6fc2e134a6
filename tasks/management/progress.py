"""The progress bar of long commands."""

from __future__ import annotations

import sys
import time

REDRAW_EVERY = 0.2  # seconds


class ProgressBar:
    """A progress bar on stderr, if that is a terminal."""

    def __init__(self, total: int, what: str) -> None:
        self.total, self.what, self.done = total, what, 0
        self.started = time.perf_counter()
        self.drawn = 0.0

    @property
    def seconds(self) -> float:
        return max(time.perf_counter() - self.started, 0.001)

    def advance(self, amount: int) -> None:
        self.done += amount
        if sys.stderr.isatty() and self.seconds - self.drawn > REDRAW_EVERY:
            self.drawn = self.seconds
            self.draw()

    def draw(self) -> None:
        rate = self.done / self.seconds
        left = (self.total - self.done) / rate if rate else 0
        filled = "█" * (30 * self.done // max(self.total, 1))
        done = f"{self.done:,} {self.what}, {rate:,.0f}/s, {left:.0f} s left"
        sys.stderr.write(f"\r{filled:░<30} {done} ")

    def finish(self) -> None:
        if sys.stderr.isatty():
            self.draw()
            sys.stderr.write("\n")
