"""How screens show that there is no value."""

from __future__ import annotations

EMPTY = "–"  # also in templates: {{ value|default:"–" }}
