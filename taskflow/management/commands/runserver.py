"""Django's server for development, in which our middleware serves the static files."""

from __future__ import annotations

from django.core.management.commands.runserver import Command

__all__ = ["Command"]
