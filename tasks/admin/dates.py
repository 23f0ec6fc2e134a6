"""The form field of a day, or of a day with a time, which all screens use."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.functional import lazy
from django.utils.translation import gettext as translate
from django.utils.translation import gettext_lazy as _

from taskflow.http.schema import FIRST_YEAR, LAST_YEAR
from tasks.csv.dates import ClockChange, read_when
from tasks.schemas.csv import DateOrder

INPUT_CLASS = "task-date"


def _name_zone() -> str:
    zone = timezone.get_current_timezone_name()
    return translate("The time is optional. Time zone: %(zone)s.") % {"zone": zone}


class DayOrTimeWidget(forms.MultiWidget):
    """A day, and beside it an optional time of day. Browsers offer a calendar for the day."""

    use_fieldset = True

    def __init__(self) -> None:
        labels = {"date": _("Day"), "time": _("Time")}
        super().__init__(
            [
                forms.TextInput({"type": kind, "class": INPUT_CLASS, "aria-label": label})
                for kind, label in labels.items()
            ]
        )

    def decompress(self, value: date | datetime | str | None) -> list[str]:
        """Return the texts of the two inputs. A time is shown in the zone of the tenant."""
        if value is None:
            return ["", ""]
        if isinstance(value, str):  # a day of a URL
            return [value, ""]
        if not isinstance(value, datetime):
            return [value.isoformat(), ""]
        local = timezone.localtime(value) if timezone.is_aware(value) else value
        clock = "%H:%M:%S" if local.second else "%H:%M"
        return [f"{local:%Y-%m-%d}", local.strftime(clock)]


class DayOrTimeField(forms.Field):
    """A day (date) or a timestamp (datetime, aware), or None for an empty field."""

    widget = DayOrTimeWidget

    def __init__(self, *, label: Any = None) -> None:
        super().__init__(required=False, label=label, help_text=lazy(_name_zone, str)())

    def clean(self, value: Any) -> date | datetime | None:
        if value and not isinstance(value, list | tuple):  # of a URL, as in ?due_at=2026-12-01
            value = (value, "")
        day, clock = (str(part or "").strip() for part in value or ("", ""))
        if not day and not clock:
            return super().clean(None)  # type: ignore[no-any-return]
        if not day:
            raise ValidationError(translate("Choose a day for the time, or remove the time."))
        return self._read(f"{day} {clock}".strip())

    def _read(self, text: str) -> date | datetime:
        try:
            # Days with dots, as in 31.01.2026, are written with the day first everywhere.
            order = DateOrder.DMY if "." in text.partition(" ")[0] else None
            when = read_when(text, order, timezone.get_current_timezone())
        except ClockChange:
            raise ValidationError(
                translate(
                    "%(zone)s has no such time on that day, or has it twice, because the clock is"
                    " changed. Choose another time."
                )
                % {"zone": timezone.get_current_timezone_name()}
            ) from None
        except ValueError:
            when = None
        if when is None:
            raise ValidationError(
                translate("Enter a day that exists, such as 2026-01-31, and a time such as 09:00.")
            )
        if not FIRST_YEAR <= when.day.year <= LAST_YEAR:
            years = {"first": FIRST_YEAR, "last": LAST_YEAR}
            raise ValidationError(translate("Choose a year from %(first)d to %(last)d.") % years)
        return when.timestamp or when.day

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether another text was sent than the one that was shown.

        So a time keeps its fractions of a second, which the form does not show.
        """
        shown = DayOrTimeWidget().decompress(initial)
        return [str(part or "").strip() for part in data or ("", "")] != shown
