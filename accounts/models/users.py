"""Tenants, and their users: people and agents."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, ClassVar, Self
from unicodedata import normalize
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from taskflow.db.computed import FoldedField
from taskflow.db.creation_time import CreationTime
from taskflow.db.text import fold
from taskflow.tenancy import TenantFK, TenantManager, TenantModel, TenantQuerySet

if TYPE_CHECKING:
    from taskflow.db.viewer import Viewer

PLATFORM = "platform"  # subdomain of the tenant that the operators belong to
SUBDOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
HANDLE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,49}")
RESERVED_HANDLES = ("me", "none")  # keywords in filters by user


def password_forms(password: str) -> list[str]:
    """Return the forms of a password that a stored hash may be of: the normalized one first."""
    return list(dict.fromkeys([normalize("NFKC", password), password]))


def check_time_zone(name: str) -> None:
    """Raise ValidationError unless `name` is an IANA time zone that this Python knows."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValidationError(f"“{name}” is not a time zone like Europe/Berlin.") from None


class Tenant(models.Model):
    """A customer. Every row of every other table belongs to exactly one tenant."""

    # Operators set these. Their values are not in the events, so that no undo restores them.
    unrecorded: ClassVar[frozenset[str]] = frozenset({"is_active", "deletion_at"})
    derived: ClassVar[frozenset[str]] = frozenset()
    columns_for_dependents: ClassVar[frozenset[str]] = frozenset()
    project_field: ClassVar[str | None] = None
    published_field: ClassVar[str | None] = None
    records_address: ClassVar[bool] = True
    fresh_columns: frozenset[str] = frozenset()

    pk = TenantModel.pk
    name = models.CharField(max_length=200)
    subdomain = models.CharField(
        max_length=63,
        unique=True,
        validators=[RegexValidator(re.compile(rf"\A{SUBDOMAIN.pattern}\Z"), "Not a DNS label.")],
    )
    time_zone = models.CharField(max_length=64, default="UTC", validators=[check_time_zone])
    is_active = models.BooleanField(default=True)
    deletion_at = models.DateTimeField(null=True, editable=False)  # from then on, purge deletes it
    # Administrators without a second factor have to enrol one at their next sign-in.
    second_factor_required = models.BooleanField(default=False)
    # The epoch of new events. The log of a tenant that comes from another database, or from an
    # older copy of this one, continues in a new epoch: see taskflow/audit/feed.py.
    event_epoch = models.IntegerField(default=1, db_default=1, editable=False)
    # {epoch: the number that imports have added to the ids of its events}; null without any.
    event_id_shifts = models.JSONField(null=True, editable=False)
    # Events that were made up to this time may have been deleted: see taskflow/audit/retention.py.
    # Null if none were.
    events_missing_until = models.DateTimeField(null=True, editable=False)
    max_attempts = models.PositiveSmallIntegerField(default=5)  # claims of one task in vain
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.CheckConstraint(name="tenant_has_a_name", condition=~Q(name="")),
            models.CheckConstraint(
                name="tenant_allows_an_attempt", condition=Q(max_attempts__range=(1, 100))
            ),
            models.CheckConstraint(
                name="tenant_subdomain_is_lower_case",
                condition=~Q(subdomain="") & Q(subdomain=models.functions.Lower("subdomain")),
            ),
        ]

    def __str__(self) -> str:
        return self.name

    # ---- days and clock times: a day begins at midnight in the time zone of the tenant ----

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def day_of(self, timestamp: datetime) -> date:
        """Return the tenant's day that contains the timestamp."""
        return timestamp.astimezone(self.zone).date()

    def start_of(self, day: date) -> datetime:
        """Return the first moment of the tenant's day, in UTC.

        On a day whose midnight is skipped, this is the moment at which the clock is set forward.
        """
        return datetime.combine(day, time.min, self.zone).astimezone(UTC)

    def end_of(self, day: date) -> datetime:
        """Return the last microsecond of the tenant's day, in UTC."""
        return self.start_of(day + timedelta(days=1)) - timedelta(microseconds=1)

    @classmethod
    def update_dependents(cls, changes: object) -> None:
        """Do nothing. The recorder calls this for every model, see TenantModel."""

    @classmethod
    def follow_changes(cls, actor: object, changes: object) -> None:
        """Do nothing. The recorder calls this for every model, see TenantModel."""

    @property
    def tenant_id(self) -> int:
        """The tenant's own id: the recorder reads this attribute of every row."""
        return self.pk


class UserKind(models.TextChoices):
    """The kind of a user: a person, or a program that works for one."""

    HUMAN = "human", _("Human")
    AGENT = "agent", _("Agent")


class UserQuerySet(TenantQuerySet["User"]):
    def active(self) -> Self:
        return self.filter(is_active=True)

    def with_email(self, email: str) -> Self:
        """Return the users with this e-mail, without regard to case and width. Mostly one.

        E-mails are stored in lower case. No mail provider uses other compatibility forms.
        """
        return self.filter(email__in=[email.lower(), fold(email)])

    def end_sessions(self) -> None:
        """End the current admin sessions of these users. One UPDATE."""
        self.update(sessions_ended_at=timezone.now())

    def visible_to(self, viewer: Viewer) -> Self:
        """Return all users of the tenant: any of them can be assigned, mentioned or added.

        A token bound to projects shows its own user and the members of those of its projects that
        the user can see.
        """
        if viewer.project_ids is None:
            return self.all()
        # `memberships` is the reverse name of tasks.ProjectMember.user. This app may not import it.
        in_projects: dict[str, object] = {
            "memberships__project__pk__in": viewer.project_ids,
            "memberships__project__deleted_at__isnull": True,
        }
        if not viewer.is_staff:
            in_projects["memberships__project__memberships__user__pk"] = viewer.user_id
        members = User.objects.filter(**in_projects).values("pk")
        return self.filter(Q(pk=viewer.user_id) | Q(pk__in=members))


class UserManager(TenantManager.from_queryset(UserQuerySet)):  # type: ignore[misc]
    def get_by_natural_key(self, email: str) -> User:
        user: User = self.get(email=email.lower())
        return user


class User(TenantModel, AbstractBaseUser):
    """A human, who signs in with an e-mail and a password, or an agent, which only has tokens."""

    unrecorded = frozenset({"password", "last_login", "sessions_ended_at"})
    records_address = True

    kind = models.CharField(max_length=5, choices=UserKind, default=UserKind.HUMAN)
    handle = models.CharField(
        max_length=50,
        validators=[
            RegexValidator(
                re.compile(rf"\A{HANDLE.pattern}\Z"),
                "Use lower-case letters, digits, dot, dash and underscore.",
            )
        ],
    )
    email = models.EmailField(max_length=255, null=True, blank=True)
    full_name = models.CharField(max_length=100, blank=True)
    full_name_folded = FoldedField("full_name")  # for `q=`, and for people in imported files
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField("administrator", default=False)
    is_superuser = models.BooleanField("operator", default=False, editable=False)
    # Admin sessions that began before this time are invalid. Set when the user is deactivated.
    sessions_ended_at = models.DateTimeField(null=True, editable=False)
    responsible = TenantFK(
        "self", models.PROTECT, null=True, blank=True, related_name="agents", db_index=False
    )
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = CreationTime()
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ["full_name"]

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "handle"],
                name="user_handle_key",
                violation_error_message=_("This handle is taken."),
            ),
            models.UniqueConstraint(
                fields=["tenant", "email"],
                name="user_email_key",  # also serves sign-in, which looks the user up by e-mail
                violation_error_message=_("This e-mail is taken."),
            ),
            models.CheckConstraint(
                name="user_kind_is_known", condition=Q(kind__in=UserKind.values)
            ),
            models.CheckConstraint(
                name="user_human_has_email",
                condition=Q(kind=UserKind.AGENT) | Q(email__isnull=False),
                violation_error_message=_("A person needs an e-mail address."),
            ),
            models.CheckConstraint(
                name="user_email_is_lower_case",
                condition=Q(email__isnull=True) | Q(email=models.functions.Lower("email")),
            ),
            models.CheckConstraint(
                name="user_handle_is_lower_case",
                condition=~Q(handle="") & Q(handle=models.functions.Lower("handle")),
            ),
            models.CheckConstraint(
                name="user_handle_is_not_reserved",
                condition=~Q(handle__in=RESERVED_HANDLES),
                violation_error_message=_("The handles me and none are reserved. Choose another."),
            ),
        ]
        indexes = [
            # a user's agents: read when the user is deactivated, offboarded or deleted
            models.Index(fields=["tenant", "responsible"], name="user_responsible"),
        ]

    def __str__(self) -> str:
        return f"{self.full_name or self.handle} (@{self.handle})"

    def get_full_name(self) -> str:
        return self.full_name or self.handle

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        """Return the value that a session stores and that must still match at each request.

        It changes with the password, as in Django, and whenever the user's sessions are ended.
        """
        password_hash: str = super()._get_session_auth_hash(secret)  # type: ignore[misc]
        ended = self.sessions_ended_at
        return f"{password_hash}-{ended.timestamp()}" if ended else password_hash

    def set_password(self, raw_password: str | None) -> None:
        super().set_password(raw_password and normalize("NFKC", raw_password))

    def check_password(self, raw_password: str | None) -> bool:
        """Return whether this is the password, in whichever form a keyboard composes it.

        A password that was stored before it was normalized is found as it was typed.
        """
        forms = password_forms(raw_password or "")
        return any(super(User, self).check_password(form) for form in forms)

    def clean(self) -> None:
        self.email = (self.email or "").lower() or None

    @property
    def can_use_admin(self) -> bool:
        """Whether the user can sign in to the admin: every active person, and no agent."""
        return self.is_active and self.kind == UserKind.HUMAN

    def has_perm(self, perm: str, obj: object = None) -> bool:
        """Return whether the user is an administrator.

        Django asks this for pages whose admin class does not ask the rules of the apps.
        """
        return self.is_active and (self.is_staff or self.is_superuser)

    def has_module_perms(self, app_label: str) -> bool:
        return self.has_perm("")
