"""The colors of labels. A color means the same on every screen."""

from __future__ import annotations

from tasks.models import Outcome

STATUS_COLORS = {
    "todo": "info",
    "in_progress": "warning",
    "done": "success",
    Outcome.CANCELLED.value: "danger",
}
PRIORITY_COLORS = {"low": "info", "medium": "warning", "high": "danger"}
