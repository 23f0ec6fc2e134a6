"""Days and times as screens show them: in the form of the language, and in the zone of the tenant.

Templates use the filter `date` with the same formats. taskflow/formats/ has the forms.
"""

from __future__ import annotations

from datetime import date, datetime

from django.utils import timezone
from django.utils.formats import date_format


def show_day(day: date) -> str:
    return date_format(day, "SHORT_DATE_FORMAT")


def show_time(moment: datetime) -> str:
    """Return the minute of an aware time, with the short name of the zone."""
    local = timezone.localtime(moment)
    return f"{date_format(local, 'SHORT_DATETIME_FORMAT')} {local:%Z}"
