"""Messages after a change, with a link to the page that undoes it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from accounts.admin.recorded import get_actor
from taskflow.audit.actor import Actor


def report_done(request: HttpRequest, sentence: str) -> None:
    """Show the sentence on the next page, with a link that undoes the changes of this request."""
    messages.success(request, with_undo(request, sentence))


def with_undo(request: HttpRequest, sentence: str) -> SafeString:
    """Return the sentence, escaped, with the link."""
    return format_html("{} {}", sentence, link_to_undo(get_actor(request)))


def link_to_undo(actor: Actor) -> SafeString:
    """Return a link to the page that undoes everything that the request of this actor has done."""
    query = urlencode({"request_id": actor.request_id})
    address = f"{reverse('admin:audit_event_undo')}?{query}"
    return format_html('<a class="font-medium underline" href="{}">{}</a>', address, _("Undo"))
