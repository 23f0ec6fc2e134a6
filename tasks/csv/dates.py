"""Days and times as people and other systems write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

from tasks.schemas.csv import DateOrder

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
SEPARATOR = r"[ ./-]"
ISO = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
NUMBERS = re.compile(rf"(\d{{1,4}}){SEPARATOR}(\d{{1,2}}){SEPARATOR}(\d{{1,4}})")
WITH_MONTH = re.compile(rf"(\d{{1,4}}){SEPARATOR}([a-z]{{3,9}}){SEPARATOR}(\d{{1,4}})")
MONTH_FIRST = re.compile(r"([a-z]{3,9})\.? (\d{1,2}),? (\d{4})")
TIME = re.compile(
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(:(?P<second>\d\d)(\.(?P<fraction>\d{1,6})\d*)?)?"
    r" ?(?P<half>[ap]m)? ?(?P<offset>z|[+-]\d\d:?\d\d)?"
)


class AmbiguousDate(ValueError):
    """A date that can be read in several orders."""


class ClockChange(ValueError):
    """A clock time that a day does not have, or has twice, because the clock is changed.

    The text is a sentence for the client.
    """


@dataclass(frozen=True)
class When:
    """A day, and the time of that day in UTC if the text contains a time."""

    day: date
    timestamp: datetime | None
    is_midnight: bool = False  # whether the text has the time 00:00


def read_when(text: str, order: DateOrder | None, zone: ZoneInfo) -> When | None:
    """Return the day, and the time, that a text means; None if it is no date.

    `order` is the order of numbers in dates that are not written as 2026-01-31. A time without an
    offset is in `zone`. Raises AmbiguousDate if the order is needed and is None, ClockChange if the
    zone does not have the time, or has it twice, and ValueError for a day or a time that does not
    exist.
    """
    folded = " ".join(text.casefold().split())
    head, middle, rest = folded, "", ""
    if found := re.search(r"(t|,? )(?=\d{1,2}:\d\d)", folded):
        head, middle, rest = folded[: found.start()], found[0], folded[found.end() :]
    day = _read_day(head, order)
    if day is None or not middle:
        return When(day, None) if day else None
    clock = TIME.fullmatch(rest)
    if clock is None:
        return None
    local = datetime.combine(day, _read_time(clock))
    offset = clock["offset"]
    timestamp = local.replace(tzinfo=_read_offset(offset)) if offset else _in_zone(local, zone)
    return When(day, timestamp.astimezone(UTC), is_midnight=local.time() == time())


def _read_day(text: str, order: DateOrder | None) -> date | None:
    """Return the day of a text without a time; None if it is none."""
    if match := ISO.fullmatch(text):
        return date(int(match[1]), int(match[2]), int(match[3]))
    if match := MONTH_FIRST.fullmatch(text):
        month = _read_month(match[1])
        return date(int(match[3]), month, int(match[2])) if month else None
    if match := WITH_MONTH.fullmatch(text):
        month = _read_month(match[2])
        return _place(match[1], month, match[3], order) if month else None
    if match := NUMBERS.fullmatch(text):
        return _read_numbers(match[1], match[2], match[3], order)
    return None


def _read_month(name: str) -> int | None:
    return MONTHS.index(name[:3]) + 1 if name[:3] in MONTHS else None


def _place(first: str, month: int, last: str, order: DateOrder | None) -> date:
    """Return the day of `first`, a month by its name, and `last`. One of the two is the year."""
    if len(last) == 4 and len(first) < 3:
        return date(int(last), month, int(first))
    if len(first) == 4 and len(last) < 3:
        return date(int(first), month, int(last))
    if order is None:
        raise AmbiguousDate
    year, day = (first, last) if order == DateOrder.YMD else (last, first)
    return date(_read_year(year), month, int(day))


def _read_numbers(first: str, second: str, third: str, order: DateOrder | None) -> date:
    if order is None:
        raise AmbiguousDate
    day, month, year = {
        DateOrder.DMY: (first, second, third),
        DateOrder.MDY: (second, first, third),
        DateOrder.YMD: (third, second, first),
    }[order]
    return date(_read_year(year), int(month), int(day))


def _read_year(text: str) -> int:
    """Return a year. One of two digits is in the years 1970 to 2069."""
    if len(text) == 4:
        return int(text)
    if len(text) != 2:
        raise ValueError(f"“{text}” is no year")
    return int(text) + (1900 if int(text) >= 70 else 2000)


def _read_time(match: re.Match[str]) -> time:
    hour = int(match["hour"])
    if match["half"]:
        if not 1 <= hour <= 12:
            raise ValueError("hour must be in 1 to 12")
        hour = hour % 12 + (12 if match["half"] == "pm" else 0)
    fraction = (match["fraction"] or "").ljust(6, "0")
    return time(hour, int(match["minute"]), int(match["second"] or 0), int(fraction))


def _in_zone(local: datetime, zone: ZoneInfo) -> datetime:
    """Return a clock time of the zone. Raises ClockChange if it does not exist, or comes twice."""
    first, second = (local.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    text = f"{local:%Y-%m-%d %H:%M}"
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != local:
        raise ClockChange(
            f"{zone} has no {text}: the clock is set forward over it. Correct the time, or write it"
            " with an offset."
        )
    raise ClockChange(
        f"{zone} has {text} twice: the clock is set back. Write the time with an offset, as in"
        f" {first.isoformat()} or {second.isoformat()}."
    )


def _read_offset(text: str) -> timezone:
    if text == "z":
        return UTC
    digits = text[1:].replace(":", "")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)
