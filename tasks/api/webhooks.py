"""Operations on webhooks and their deliveries."""

from __future__ import annotations

from django.db.models import F
from ninja import Query, Router, Status

from accounts.auth import admin_auth
from taskflow.audit.actor import Actor, ActorRequest
from taskflow.db.columns import columns_of
from taskflow.http.errors import NotFound
from taskflow.http.paging import PageContents, PageParams, paginate
from taskflow.http.preconditions import etag_of
from tasks.actions import webhooks as actions
from tasks.models import Delivery, Webhook
from tasks.queries.references import resolve
from tasks.schemas.webhooks import (
    DeliveryFilters,
    DeliveryListResponse,
    DeliveryResponse,
    IssuedWebhookResponse,
    WebhookCreate,
    WebhookListResponse,
    WebhookResponse,
    WebhookUpdate,
)

webhooks = Router(tags=["Webhooks"], auth=admin_auth)
deliveries = Router(tags=["Webhooks"], auth=admin_auth)


@webhooks.get("", response=WebhookListResponse)
def list_webhooks(request: ActorRequest, page: Query[PageParams]) -> PageContents[Webhook]:
    """List the webhooks that you may manage, newest first.

    Administrators manage all, and owners and admins of a project those of the project. A token
    bound to projects reaches only those of its projects.
    """
    return paginate(Webhook.objects.visible_to(request.auth.viewer), page, order=["-id"])


@webhooks.post("", response={201: IssuedWebhookResponse})
def create_webhook(request: ActorRequest, body: WebhookCreate) -> Status[dict[str, object]]:
    """Send the events from now on to a URL. The secret of the signatures is shown once.

    For owners and admins of the project, and without a project for administrators. You become its
    owner: it sends the events that you may see. Each delivery contains the events of one request
    about one object. It is sent until the receiver answers with 2xx, for 24 hours; then the webhook
    is paused, and continues where it stopped when it is resumed.
    """
    values = resolve(request.auth, body.sent_fields())
    webhook = actions.create_webhook(request.auth, **values)
    return Status(201, _issued_response(request, webhook))


@webhooks.get("/{id:webhook_id}", response=WebhookResponse)
def get_webhook(request: ActorRequest, webhook_id: int) -> Webhook:
    """Get a webhook that you may manage, without its secret."""
    return _find_webhook(request.auth, webhook_id)


@webhooks.api_operation(["PATCH", "PUT"], "/{id:webhook_id}", response=WebhookResponse)
def update_webhook(request: ActorRequest, webhook_id: int, body: WebhookUpdate) -> Webhook:
    """Change the URL or the types of events. PUT behaves like PATCH.

    Deliveries that wait are sent to the new URL.
    """
    webhook = _find_webhook(request.auth, webhook_id)
    return actions.update_webhook(request.auth, webhook, **body.sent_fields())


@webhooks.delete("/{id:webhook_id}", response={204: None})
def delete_webhook(request: ActorRequest, webhook_id: int) -> Status[None]:
    """Delete a webhook with its deliveries. It cannot be restored."""
    actions.delete_webhook(request.auth, _find_webhook(request.auth, webhook_id))
    return Status(204, None)


@webhooks.post("/{id:webhook_id}/rotation", response={201: IssuedWebhookResponse})
def rotate_webhook_secret(request: ActorRequest, webhook_id: int) -> Status[dict[str, object]]:
    """Replace the secret. For 24 hours, deliveries have a signature of each of the two."""
    webhook = actions.rotate_secret(request.auth, _find_webhook(request.auth, webhook_id))
    return Status(201, _issued_response(request, webhook))


@webhooks.post("/{id:webhook_id}/pause", response=WebhookResponse)
def pause_webhook(request: ActorRequest, webhook_id: int) -> Webhook:
    """Send nothing until the webhook is resumed. No event is lost, as long as the log has it."""
    return actions.pause_webhook(request.auth, _find_webhook(request.auth, webhook_id))


@webhooks.post("/{id:webhook_id}/resumption", response=WebhookResponse)
def resume_webhook(request: ActorRequest, webhook_id: int) -> Webhook:
    """Go on from where the webhook has stopped. Deliveries that wait are tried at once.

    Returns 409 when its owner is deactivated.
    """
    return actions.resume_webhook(request.auth, _find_webhook(request.auth, webhook_id))


@webhooks.post("/{id:webhook_id}/ping", response=DeliveryResponse)
def ping_webhook(request: ActorRequest, webhook_id: int) -> Delivery:
    """Send a delivery of the type `ping`, which has no events, within seconds.

    Its result is in the returned delivery later. Returns 409 when the webhook is paused.
    """
    return actions.ping(request.auth, _find_webhook(request.auth, webhook_id))


@webhooks.get("/{id:webhook_id}/deliveries", response=DeliveryListResponse)
def list_deliveries(
    request: ActorRequest, webhook_id: int, filters: Query[DeliveryFilters]
) -> PageContents[Delivery]:
    """List the deliveries of a webhook with their results, newest first."""
    webhook = _find_webhook(request.auth, webhook_id)
    rows = Delivery.objects.filter(webhook=webhook)
    if state := filters.sent_fields().get("state"):
        rows = rows.filter(state=state)
    return paginate(rows, filters, order=["-id"])


@deliveries.get("/{id:delivery_id}", response=DeliveryResponse)
def get_delivery(request: ActorRequest, delivery_id: int) -> Delivery:
    """Get a delivery of a webhook that you may manage."""
    return _find_delivery(request.auth, delivery_id)


@deliveries.post("/{id:delivery_id}/redelivery", response=DeliveryResponse)
def redeliver(request: ActorRequest, delivery_id: int) -> Delivery:
    """Send a delivery again within seconds, with the same `webhook-id`, and retry it for 24 hours.

    A paused webhook sends it when it is resumed.
    """
    return actions.redeliver(request.auth, _find_delivery(request.auth, delivery_id))


def _issued_response(request: ActorRequest, webhook: Webhook) -> dict[str, object]:
    """Return the webhook with its secret, and set its ETag."""
    request.etag = etag_of(webhook)
    columns = {f.attname: getattr(webhook, f.attname) for f in columns_of(Webhook)}
    return columns | {"secret": webhook.secret}


def _find_webhook(actor: Actor, webhook_id: int) -> Webhook:
    rows = Webhook.objects.visible_to(actor.viewer).select_related("owner", "project")
    rows = rows.annotate(failures=F("failure_count"))  # for the ETag: it has no version
    webhook: Webhook | None = rows.filter(pk=webhook_id).first()
    if webhook is None:
        raise NotFound("There is no such webhook.")
    return webhook


def _find_delivery(actor: Actor, delivery_id: int) -> Delivery:
    rows = Delivery.objects.visible_to(actor.viewer)
    rows = rows.select_related("webhook__project")
    delivery: Delivery | None = rows.filter(pk=delivery_id).first()
    if delivery is None:
        raise NotFound("There is no such delivery.")
    return delivery
