"""Messages after a change, with a button that leads to its undo."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from accounts.admin.recorded import get_actor
from taskflow.audit.actor import Actor


def report_done(request: HttpRequest, sentence: str) -> None:
    """Show the sentence on the next page, with a button that undoes the changes of this request."""
    messages.success(request, with_undo(request, sentence))


def with_undo(request: HttpRequest, sentence: str) -> SafeString:
    """Return the sentence, escaped, with the button."""
    return format_html("{} {}", sentence, build_undo_button(get_actor(request)))


def build_undo_button(actor: Actor) -> SafeString:
    """Return a button that shows what an undo of everything that this request has done changes.

    It sends the form `undo-form` of helpers/messages.html, so that messages need no CSRF token.
    """
    return format_html(
        '<button type="submit" form="undo-form" name="request_id" value="{}"'
        ' class="cursor-pointer font-medium underline">{}</button>',
        actor.request_id,
        _("Undo"),
    )
