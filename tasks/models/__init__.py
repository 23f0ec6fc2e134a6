from __future__ import annotations

from tasks.models.projects import Project, ProjectMember, ProjectStatus, Role
from tasks.models.tags import Tag
from tasks.models.tasks import Priority, Status, Task, TaskTag

__all__ = [
    "Priority",
    "Project",
    "ProjectMember",
    "ProjectStatus",
    "Role",
    "Status",
    "Tag",
    "Task",
    "TaskTag",
]
