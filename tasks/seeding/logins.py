"""The logins of the demo. This module imports no model, so that programs can import it early."""

from __future__ import annotations

DEMO_PASSWORD = "taskflow-demo-2026"  # noqa: S105 - public, used only with DEBUG on
DEMO_EMAIL = "ada@acme.example"
OPERATOR_EMAIL = "operator@platform.example"
