"""The text format of Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from taskflow.metrics.families import Family, Histogram, Labels, Memory, Registry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Reading:
    """A metric whose values are read at the time of the scrape, with the values by their labels."""

    name: str
    description: str
    kind: str = "gauge"
    labels: Sequence[str] = ()
    values: Mapping[Labels, float] = field(default_factory=dict)


def write_text(
    registry: Registry, memories: Sequence[Memory], readings: Iterable[Reading] = ()
) -> str:
    """Return the text of all metrics: the sums of the memories of all workers, and the readings."""
    lines: list[str] = []
    for family in registry.families:
        lines += _head(family.name, family.description, family.kind)
        for labels, offset in family.offsets.items():
            numbers = _sum(memories, offset, family.width)
            if any(numbers) or not family.hides_unused:
                lines += _lines_of(family, labels, numbers)
    for reading in readings:
        lines += _head(reading.name, reading.description, reading.kind)
        for labels, value in reading.values.items():
            lines.append(_line(reading.name, reading.labels, labels, value))
    return "\n".join(lines) + "\n"


def _head(name: str, description: str, kind: str) -> tuple[str, str]:
    return f"# HELP {name} {description}", f"# TYPE {name} {kind}"


def _sum(memories: Sequence[Memory], offset: int, width: int) -> list[float]:
    return [sum(memory[offset + position] for memory in memories) for position in range(width)]


def _lines_of(family: Family, labels: Labels, numbers: list[float]) -> Iterator[str]:
    if not isinstance(family, Histogram):
        yield _line(family.name, family.labels, labels, numbers[0])
        return
    *counts, total = numbers
    names = (*family.labels, "le")
    count = 0.0
    for bound, more in zip((*map(_number, family.bounds), "+Inf"), counts, strict=True):
        count += more
        yield _line(f"{family.name}_bucket", names, (*labels, bound), count)
    yield _line(f"{family.name}_sum", family.labels, labels, total)
    yield _line(f"{family.name}_count", family.labels, labels, count)


def _line(name: str, names: Sequence[str], labels: Labels, value: float) -> str:
    pairs = ",".join(f'{n}="{_escape(v)}"' for n, v in zip(names, labels, strict=True))
    return f"{name}{{{pairs}}} {_number(value)}" if pairs else f"{name} {_number(value)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
