from __future__ import annotations

from tasks.admin import comments, pages, projects, tags, tasks, undo, users

__all__ = ["comments", "pages", "projects", "tags", "tasks", "undo", "users"]
