"""Metrics, and the memory that holds their values."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import product
from threading import Lock
from typing import TypeAlias

OTHER = "other"  # the value of a label for everything that has no series of its own
Labels = tuple[str, ...]
Memory: TypeAlias = "memoryview[float]"  # one number for each item


class Offsets(dict[Labels, int]):
    """Where the numbers of each series begin. Other labels have the place of OTHER."""

    def __init__(self, series: Sequence[Labels]) -> None:
        self.known = tuple(frozenset(values) for values in zip(*series, strict=True))

    def __missing__(self, labels: Labels) -> int:
        pairs = zip(labels, self.known, strict=True)
        listed = tuple(value if value in known else OTHER for value, known in pairs)
        return self.get(listed) or self[(OTHER, *listed[1:])]


class Family:
    """A metric with one series for each combination of the values of its labels.

    `label_values` lists them in the order of `labels`. Each label also has the value OTHER, under
    which values are counted that are not listed, unless `has_other` is false: then there must be no
    others. With `hides_unused`, series that are 0 are left out of the text.
    """

    kind = "untyped"
    width = 1  # numbers of one series

    def __init__(
        self,
        name: str,
        description: str,
        labels: Sequence[str] = (),
        label_values: Sequence[Sequence[str]] = (),
        *,
        hides_unused: bool = False,
        has_other: bool = True,
    ) -> None:
        self.name, self.description, self.labels = name, description, tuple(labels)
        self.hides_unused, self.others = hides_unused, (OTHER,) if has_other else ()
        self.registry: Registry | None = None
        self.set_label_values(label_values)

    def set_label_values(self, label_values: Sequence[Sequence[str]]) -> None:
        """Have a series for each combination. The registry has to be laid out again after it."""
        given = label_values or [()] * len(self.labels)
        self.set_series(list(product(*((*values, *self.others) for values in given))))

    def set_series(self, series: Sequence[Labels]) -> None:
        """Have these series. The registry has to be laid out again after it.

        There must be one whose first label is OTHER for each combination of the other labels.
        """
        self.series = list(dict.fromkeys(series))
        self.offsets = Offsets(self.series)

    @property
    def size(self) -> int:
        return len(self.series) * self.width

    def place_at(self, start: int) -> None:
        """Use the numbers of a memory from `start` on."""
        for position, labels in enumerate(self.series):
            self.offsets[labels] = start + position * self.width


class Counter(Family):
    """A number that only grows."""

    kind = "counter"

    def add(self, amount: float = 1.0, labels: Labels = ()) -> None:
        registry = self.registry
        assert registry is not None
        with registry.lock:
            registry.values[self.offsets[labels]] += amount


class Gauge(Family):
    """A number that grows and falls. The text shows the sum of all workers."""

    kind = "gauge"

    def set(self, value: float, labels: Labels = ()) -> None:
        registry = self.registry
        assert registry is not None
        registry.values[self.offsets[labels]] = value


class Histogram(Family):
    """How many values are at most as large as each bound, and the sum of all values."""

    kind = "histogram"

    def __init__(
        self,
        name: str,
        description: str,
        labels: Sequence[str] = (),
        label_values: Sequence[Sequence[str]] = (),
        *,
        bounds: Sequence[float],
        hides_unused: bool = False,
        has_other: bool = True,
    ) -> None:
        self.bounds = tuple(bounds)
        self.width = len(bounds) + 2  # one above the last bound, and the sum
        options = {"hides_unused": hides_unused, "has_other": has_other}
        super().__init__(name, description, labels, label_values, **options)

    def observe(self, value: float, labels: Labels = ()) -> None:
        registry = self.registry
        assert registry is not None
        with registry.lock:
            self.add_to(registry.values, value, labels)

    def add_to(self, values: Memory, value: float, labels: Labels) -> None:
        """Count a value. The caller holds the lock."""
        offset = self.offsets[labels]
        values[offset + bisect_left(self.bounds, value)] += 1.0
        values[offset + self.width - 1] += value


class Registry:
    """All metrics of the process, and the memory in which this worker records them.

    A number is a double of 8 bytes. The first one is the id of the worker's process, the second the
    time, by read_clock(), at which the worker has last shown that it runs.
    """

    PROCESS, HEARTBEAT = 0, 1

    def __init__(self, families: Iterable[Family]) -> None:
        self.families = list(families)
        self.lock = Lock()  # threads of this worker; no other worker writes to its memory
        self.lay_out()

    def lay_out(self) -> None:
        """Give each series its place, in memory of this process. All values become 0.

        Call it when the values of labels have changed.
        """
        start = self.HEARTBEAT + 1
        for family in self.families:
            family.registry = self
            family.place_at(start)
            start += family.size
        self.size = start
        self.values: Memory = reserve(start)

    def attach(self, values: Memory, process: int) -> None:
        """Record in this memory from now on.

        Counters go on from the values in it: they are those of the worker that this one replaces.
        """
        with self.lock:
            self.values = values
            values[self.PROCESS] = process
            for family in self.families:
                if isinstance(family, Gauge):
                    for offset in family.offsets.values():
                        values[offset] = 0.0


def reserve(size: int) -> Memory:
    """Return memory of this process for so many numbers. All are 0."""
    return memoryview(bytearray(8 * size)).cast("d")
