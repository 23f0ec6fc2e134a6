from __future__ import annotations

from tasks.models.claims import Claim, ClaimEnd, ClaimOutcome
from tasks.models.comments import Comment
from tasks.models.count_deltas import TaskCountDelta
from tasks.models.deliveries import Delivery, DeliveryQueue
from tasks.models.former_numbers import FormerNumber
from tasks.models.notifications import (
    Notification,
    NotificationPosition,
    NotificationPreference,
)
from tasks.models.pages import Page
from tasks.models.projects import Project, ProjectKey, ProjectMember, ProjectStatus, Role
from tasks.models.registry import RESOURCE_TYPES
from tasks.models.scheduled import ScheduledRun
from tasks.models.tags import Tag
from tasks.models.tasks import Outcome, Priority, Status, Task, TaskBlocker, TaskTag
from tasks.models.views import View
from tasks.models.webhooks import Webhook

__all__ = [
    "RESOURCE_TYPES",
    "Claim",
    "ClaimEnd",
    "ClaimOutcome",
    "Comment",
    "Delivery",
    "DeliveryQueue",
    "FormerNumber",
    "Notification",
    "NotificationPosition",
    "NotificationPreference",
    "Outcome",
    "Page",
    "Priority",
    "Project",
    "ProjectKey",
    "ProjectMember",
    "ProjectStatus",
    "Role",
    "ScheduledRun",
    "Status",
    "Tag",
    "Task",
    "TaskBlocker",
    "TaskCountDelta",
    "TaskTag",
    "View",
    "Webhook",
]
