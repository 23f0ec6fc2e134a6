from __future__ import annotations

from tasks.admin import projects, tags, tasks

__all__ = ["projects", "tags", "tasks"]
