"""Webhooks and their deliveries: bodies, filters and responses."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from django.conf import settings
from django.utils.translation import gettext_noop
from pydantic import MISSING, AfterValidator, Field

from taskflow.audit.webhooks.targets import MAX_URL_LENGTH, BadTarget, parse_target
from taskflow.http.paging import ListResponse, PageParams
from taskflow.http.references import ProjectReference, WithReferences
from taskflow.http.schema import (
    CreatedAt,
    Id,
    In,
    Matches,
    Out,
    RowId,
    UpdatedAt,
    Version,
    example,
)
from taskflow.http.value_errors import FormatError
from tasks.models.deliveries import DeliveryState
from tasks.models.webhooks import PauseReason, WebhookState

MAX_EVENT_TYPES = 50


def _check_url(url: str) -> str:
    try:
        parse_target(url, settings.WEBHOOK_ALLOW)
    except BadTarget as error:
        raise FormatError(str(error)) from None
    return url


WebhookUrl = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_URL_LENGTH,
        description="Where deliveries are sent: https, at a host of the public internet, in ASCII."
        " An installation may list private hosts that are allowed, also with http.",
        examples=["https://hooks.example.com/taskflow"],
    ),
    AfterValidator(_check_url),
]
EventType = Annotated[
    str,
    Matches(re.compile(r"[a-z]{1,40}\.[a-z_]{1,40}"), gettext_noop("be like task.completed")),
    Field(description="A type of events.", examples=["task.completed"]),
]


def _event_types_field(default: Any) -> Any:
    return Field(
        default,
        min_length=1,
        max_length=MAX_EVENT_TYPES,
        description="Send only events of these types, as GET /events names them. Null: all types.",
        examples=[["task.completed", "task.assigned"]],
    )


class WebhookCreate(WithReferences):
    """A new webhook."""

    model_config = example(
        url="https://hooks.example.com/taskflow", project="WEB", event_types=["task.completed"]
    )

    url: WebhookUrl
    project: ProjectReference | None = Field(
        None,
        description="Send the events of this project, by id or key. Null: of the whole tenant,"
        " for administrators.",
    )
    project_id: Id | None = Field(None, description="The id of the project, in place of `project`.")
    event_types: list[EventType] | None = _event_types_field(None)


class WebhookUpdate(In):
    """The fields to change. Fields that are absent stay as they are."""

    model_config = example(event_types=["task.completed", "task.reopened"])

    url: WebhookUrl | MISSING = MISSING
    event_types: list[EventType] | None | MISSING = _event_types_field(MISSING)


class WebhookResponse(Out):
    """A webhook, without its secret."""

    id: RowId
    owner_id: int = Field(description="The id of its owner. It sends what this user may see.")
    project_id: int | None = Field(description="The id of its project; null: the whole tenant.")
    url: str = Field(description="Where deliveries are sent.")
    event_types: list[str] | None = Field(description="The types that it sends; null: all types.")
    state: WebhookState
    pause_reason: PauseReason | None = Field(description="Why it is paused; null if it is active.")
    failure_count: int = Field(description="Failed attempts since the last one that succeeded.")
    former_until: datetime | None = Field(
        description="Until when deliveries also have a signature with the former secret, in UTC;"
        " null if the secret was never replaced."
    )
    version: Version
    created_at: CreatedAt
    updated_at: UpdatedAt


class IssuedWebhookResponse(WebhookResponse):
    """A webhook with a new secret."""

    secret: str = Field(
        description="Shown once. It checks the signatures of deliveries.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="],
    )


class WebhookListResponse(ListResponse[WebhookResponse]):
    """A page of the list of webhooks."""


class DeliveryResponse(Out):
    """Events of one request about one object, which are sent together, or a ping."""

    id: RowId
    webhook_id: int = Field(description="The id of its webhook.")
    message_id: str = Field(
        description="The header `webhook-id`, which is the same for each attempt.",
        examples=["msg_0f9a1c5be3d24d2b8e3b7a5f1c2d3e4f"],
    )
    event_type: str = Field(description="The type of its last event, or `ping`.")
    event_ids: list[int] = Field(description="The ids of its events, in their order.")
    state: DeliveryState
    attempts: int = Field(description="How often it was sent.")
    next_attempt_at: datetime = Field(
        description="When it is sent at the earliest, in UTC, if it is pending. It also waits for"
        " earlier deliveries about the same object."
    )
    response_status: int | None = Field(
        description="The status of the last response; null without a response."
    )
    response_start: str = Field(description="The first 1 KiB of the body of the last response.")
    error: str = Field(description="Why the last attempt has had no response; else empty.")
    duration_ms: int | None = Field(description="Milliseconds of the last attempt, or null.")
    attempted_at: datetime | None = Field(description="When it was last sent, in UTC, or null.")
    finished_at: datetime | None = Field(
        description="When it was accepted or withheld, in UTC, or null. It is deleted 30 days"
        " later."
    )
    created_at: CreatedAt


class DeliveryFilters(PageParams):
    """Filters of deliveries."""

    state: DeliveryState | MISSING = Field(MISSING, description="Only deliveries in this state.")


class DeliveryListResponse(ListResponse[DeliveryResponse]):
    """A page of the deliveries of a webhook."""
