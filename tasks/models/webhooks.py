"""Webhooks: URLs to which events are sent. Their deliveries are in deliveries.py."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from taskflow.audit.webhooks.signatures import derive_secret
from taskflow.audit.webhooks.targets import MAX_URL_LENGTH
from taskflow.db.creation_time import CreationTime
from taskflow.tenancy import TenantFK, TenantManager, TenantModel, TenantQuerySet
from tasks.models.projects import Project, ProjectMember, Role

if TYPE_CHECKING:
    from taskflow.db.viewer import Viewer

ROTATION_OVERLAP = timedelta(hours=24)  # for which deliveries also have the former signature


class WebhookState(models.TextChoices):
    """Whether a webhook sends events. A paused one goes on from where it stopped."""

    ACTIVE = "active", _("Active")
    PAUSED = "paused", _("Paused")


class PauseReason(models.TextChoices):
    """Why a webhook is paused."""

    REQUESTED = "requested"
    FAILED = "failed"  # a delivery was not accepted for 24 hours
    OWNER_DEACTIVATED = "owner_deactivated"


class WebhookQuerySet(TenantQuerySet["Webhook"]):
    def visible_to(self, viewer: Viewer) -> Self:
        """Return the webhooks that the viewer may manage; nobody else sees one.

        An administrator manages all, an owner or admin of a project those of the project. A token
        that is bound to projects reaches those of its projects only.
        """
        if viewer.is_staff and viewer.project_ids is None:
            return self.all()
        projects = Project.everything.visible_to(viewer)
        if not viewer.is_staff:
            managed = ProjectMember.objects.of_viewer(viewer).filter(
                role__in=(Role.OWNER, Role.ADMIN)
            )
            projects = projects.filter(pk__in=managed.values("project_id"))
        return self.filter(project__in=projects)

    def sending(self) -> Self:
        """Return the webhooks that send events now."""
        return self.filter(state=WebhookState.ACTIVE, owner__is_active=True)

    def store_cursor(self, webhook: Webhook, cursor: str) -> None:
        """Store how far the feed is read. The caller has locked the row."""
        self.filter(pk=webhook.pk).update(cursor=cursor)

    def count_failure(self, webhook_id: int) -> None:
        self.filter(pk=webhook_id).update(failure_count=F("failure_count") + 1)

    def forget_failures(self, webhook_id: int) -> None:
        """Set the number of failures in a row to 0. Writes nothing if it is 0."""
        self.filter(pk=webhook_id, failure_count__gt=0).update(failure_count=0)


class Webhook(TenantModel):
    """A URL to which the events of a tenant or a project are sent.

    It sends what its owner may see. The secret is not stored: see
    taskflow/audit/webhooks/signatures.py. `cursor` is the position in the feed of events: what
    comes after it has no delivery yet.
    """

    # The path of a URL often is a secret. The other columns are the state of the deliverer.
    unrecorded = frozenset({"url", "salt", "former_salt", "former_until", "cursor"})

    owner = TenantFK(User, models.CASCADE, related_name="webhooks")
    project = TenantFK(Project, models.CASCADE, null=True, related_name="webhooks")
    url = models.CharField("URL", max_length=MAX_URL_LENGTH)
    event_types = models.JSONField(null=True, blank=True)  # such as task.completed; null: all
    state = models.CharField(max_length=6, choices=WebhookState, default=WebhookState.ACTIVE)
    pause_reason = models.CharField(max_length=17, choices=PauseReason, null=True, blank=True)
    salt = models.CharField(max_length=64, editable=False)
    former_salt = models.CharField(max_length=64, blank=True, editable=False)
    former_until = models.DateTimeField("former secret valid until", null=True, editable=False)
    failure_count = models.PositiveIntegerField(default=0, editable=False)  # in a row
    cursor = models.CharField(max_length=200, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = CreationTime()
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar = TenantManager.from_queryset(WebhookQuerySet)()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.CheckConstraint(
                name="webhook_state_is_known", condition=Q(state__in=WebhookState.values)
            ),
            models.CheckConstraint(
                name="webhook_pause_has_a_reason",
                condition=Q(state=WebhookState.ACTIVE, pause_reason__isnull=True)
                | Q(
                    state=WebhookState.PAUSED,
                    pause_reason__isnull=False,
                    pause_reason__in=PauseReason.values,
                ),
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "owner"], name="webhook_owner"),  # deleting a user
            models.Index(fields=["tenant", "project"], name="webhook_project"),  # and a project
        ]

    def __str__(self) -> str:
        return f"webhook {self.pk}"

    @property
    def secret(self) -> str:
        """The secret that receivers check signatures with. Shown once, when it is new."""
        return derive_secret(self.tenant_id, self.salt)

    def list_secrets(self, now: datetime) -> list[str]:
        """Return the secrets to sign with: for a time after a rotation also the former one."""
        salts = [self.salt]
        if self.former_salt and self.former_until is not None and now < self.former_until:
            salts.append(self.former_salt)
        return [derive_secret(self.tenant_id, salt) for salt in salts]
