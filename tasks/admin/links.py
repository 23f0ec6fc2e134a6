"""The form field of a task's links: one line of text for each link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from taskflow.admin.site import Textarea
from taskflow.http.schema import is_web_url
from tasks.schemas.links import JsonLink

HELP = _("One link per line: the address, and after a blank its title. The order is kept.")


class LinksWidget(Textarea):
    """A text area, and below it the links in it to click on."""

    def render(self, name: str, value: Any, *args: Any, **kwargs: Any) -> SafeString:
        anchors = format_html_join(
            "",
            '<li><a class="text-primary-600 dark:text-primary-500 underline" href="{}"'
            ' target="_blank" rel="noopener noreferrer">{}</a></li>',
            (
                (link["url"], link["title"] or link["url"])
                for link in read_lines(value or "")
                if is_web_url(str(link["url"]))  # never one with another scheme
            ),
        )
        return format_html("{}<ul>{}</ul>", super().render(name, value, *args, **kwargs), anchors)


class LinksField(forms.CharField):
    """Links as lines `URL title`. The form checks them by the API's schema."""

    widget = LinksWidget

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"help_text": HELP} | kwargs)

    def prepare_value(self, value: Any) -> Any:
        return value if isinstance(value, str) else write_lines(value or [])

    def to_python(self, value: Any) -> Any:
        return read_lines(value) if isinstance(value, str) else []

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != (initial or []))


def read_lines(text: str) -> list[JsonLink]:
    """Return the links in lines of text. Empty lines are left out."""
    parts = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [{"url": url, "title": title[0].strip() if title else None} for url, *title in parts]


def write_lines(links: Sequence[JsonLink]) -> str:
    """Return links as the lines that read_lines() reads."""
    return "\n".join(" ".join(filter(None, (link["url"], link["title"]))) for link in links)
