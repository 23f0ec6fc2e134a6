"""Samples of one figure over time, such as the memory of a server."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import linear_regression, median

WARM_UP = 0.3  # of the run, whose samples are left out: pools and caches fill


@dataclass
class Figures:
    """Samples of one figure: minutes since the start, and the sum over all workers."""

    minutes: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, minute: float, value: float) -> None:
        self.minutes.append(minute)
        self.values.append(value)

    @property
    def warm(self) -> slice:
        return slice(int(len(self.values) * WARM_UP), None)

    @property
    def growth(self) -> float:
        values = self.values[self.warm]
        third = max(1, len(values) // 3)
        return median(values[-third:]) - median(values[:third])

    @property
    def slope_per_hour(self) -> float:
        slope, _ = linear_regression(self.minutes[self.warm], self.values[self.warm])
        return slope * 60
