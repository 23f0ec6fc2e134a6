"""The rows of lists, written by one format instead of a template for each cell.

Unfold renders up to three templates for a cell, and writes 640 characters of classes into it. Here
the columns of a list are looked at once. Each becomes a function that returns the text of a cell,
and together they become the format of a row. static/taskflow/lists.css has the looks.

Lists have none of what Unfold adds to rows: fields to edit, actions, sections and a manual order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.contrib.admin.utils import lookup_field, quote
from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db import models
from django.urls import NoReverseMatch, reverse
from django.utils.html import conditional_escape, escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from unfold.templatetags.unfold_list import result_headers
from unfold.utils import display_for_field, display_for_value

from taskflow.admin.empty import EMPTY

Cell = Callable[[Any], str]  # returns the escaped text of a cell for a row

NOT_IN_CSS = re.compile(r"[^\w .,-]")
LABEL_TYPES = frozenset({"info", "danger", "warning", "success", "primary"})
CHECK_BOX = '<input type="checkbox" name="{}" value="%s" class="action-select" aria-label="{}">'


class ListRows:
    """What the template of a list shows of its rows. It is computed when the template asks."""

    def __init__(self, changelist: Any) -> None:
        self._list = changelist

    @property
    def headers(self) -> list[dict[str, Any]]:
        if not hasattr(self, "_headers"):
            self._headers: list[dict[str, Any]] = list(result_headers(self._list))
        return self._headers

    @property
    def sorted_count(self) -> int:
        """The number of columns that the rows are sorted by."""
        return sum(bool(header["sortable"] and header["sorted"]) for header in self.headers)

    @property
    def titles(self) -> str:
        """The titles of the columns as variables of CSS, which phones show in front of each cell.

        Written into each cell, they would be a sixth of the page.
        """
        titles = [
            gettext("Select record") if name == "action_checkbox" else str(header["text"])
            for name, header in zip(self._list.list_display, self.headers, strict=True)
        ]
        return ";".join(f"--c{n}:{_css_string(title)}" for n, title in enumerate(titles, start=1))

    def render(self) -> SafeString:
        """Return the table rows of all rows of this page of the list."""
        row_format, cells = self._compile()
        texts = [
            row_format % tuple([cell(row) for cell in cells]) for row in self._list.result_list
        ]
        return mark_safe("\n".join(texts))  # noqa: S308 - cells return escaped texts

    def _compile(self) -> tuple[str, list[Cell]]:
        """Return the format of a row, and the functions whose texts are inserted."""
        tags: list[str] = []
        cells: list[Cell] = []
        is_linked = False
        for name in self._list.list_display:
            tag, cell = "td", _compile_cell(self._list, name)
            if name != "action_checkbox" and self._has_link(name, is_first=not is_linked):
                tag = "td" if is_linked else "th"
                is_linked = True
                cell = _link(self._list, cell)
            tags.append(f"<{tag}>%s</{tag}>")
            cells.append(cell)
        return f"<tr>{''.join(tags)}</tr>", cells

    def _has_link(self, name: str, *, is_first: bool) -> bool:
        links = self._list.list_display_links
        if links is None:
            return False
        return name in links if links else is_first


def _css_string(text: str) -> str:
    """Return the text as a string of CSS. Signs that could end it are written as their numbers."""
    escaped = NOT_IN_CSS.sub(lambda sign: "\\" + format(ord(sign[0]), "x") + " ", text)
    return f'"{escaped}"'


def _compile_cell(changelist: Any, name: str) -> Cell:
    if name == "action_checkbox":
        return _check_box()
    empty = conditional_escape(changelist.model_admin.get_empty_value_display())
    try:
        field = changelist.lookup_opts.get_field(name)
    except FieldDoesNotExist:
        return _method_cell(changelist, name, empty)
    if isinstance(field, models.ForeignKey):
        return _related_cell(field, empty)
    return _field_cell(field, empty)


def _check_box() -> Cell:
    box = CHECK_BOX.format(ACTION_CHECKBOX_NAME, escape(gettext("Select record")))
    return lambda row: box % escape(row.pk)


def _related_cell(field: Any, empty: str) -> Cell:
    def cell(row: Any) -> str:
        related = getattr(row, field.name)
        return empty if related is None else conditional_escape(str(related))

    return _remember(lambda row: getattr(row, field.attname), cell)


def _field_cell(field: Any, empty: str) -> Cell:
    def read(row: Any) -> Any:
        return getattr(row, field.attname)

    return _remember(
        read, lambda row: conditional_escape(display_for_field(read(row), field, empty))
    )


def _method_cell(changelist: Any, name: str, empty: str) -> Cell:
    """Return the cell of a method of the admin class or the model, or of a path of columns."""
    method = getattr(changelist.model_admin, name, None)
    show = _display_of(method, empty)

    def cell(row: Any) -> str:
        try:
            value = method(row) if method else lookup_field(name, row, changelist.model_admin)[2]
        except ObjectDoesNotExist:
            return empty
        return show(value)

    return cell


def _display_of(method: Any, empty: str) -> Callable[[Any], str]:
    """Return how the values of a method are shown, by the options of its decorator @display."""
    empty = conditional_escape(getattr(method, "empty_value_display", empty))
    if label := getattr(method, "label", None):
        return _remember(_key_of_label, lambda value: _show_label(value, label))
    if getattr(method, "header", False):
        return _show_header
    is_boolean = getattr(method, "boolean", False)
    return lambda value: conditional_escape(display_for_value(value, empty, is_boolean))


def _key_of_label(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) else value


def _show_label(value: Any, kinds: Any) -> str:
    """Return a colored label. A value may be a pair: the key of its color, and its text, which is
    always the same for a key.
    """
    text = value[1] if isinstance(value, tuple) else value
    if not text:
        return EMPTY
    kind = kinds.get(_key_of_label(value)) if isinstance(kinds, dict) else None
    name = f"list-label {kind}" if kind in LABEL_TYPES else "list-label"
    return f'<span class="{name}">{conditional_escape(text)}</span>'


def _show_header(value: Any) -> str:
    """Return a title, with a second line below it and initials beside it if there are any."""
    title, second, initials, *_others = [*map(conditional_escape, value), "", "", ""]
    return (
        '<span class="list-head">'
        f"{f'<i>{initials}</i>' if initials else ''}"
        f"<span><b>{title}</b>{f'<small>{second}</small>' if second else ''}</span></span>"
    )


def _link(changelist: Any, cell: Cell) -> Cell:
    """Return the cell as a link to the page of its row."""
    opts = changelist.opts
    try:
        address = reverse(
            f"admin:{opts.app_label}_{opts.model_name}_change",
            args=("0",),
            current_app=changelist.model_admin.admin_site.name,
        )
    except NoReverseMatch:
        return cell
    address = add_preserved_filters(
        {"preserved_filters": changelist.preserved_filters, "opts": opts}, address
    )
    before, after = map(escape, address.split("/0/", 1))
    attribute = str(changelist.to_field or changelist.lookup_opts.pk.attname)

    def linked(row: Any) -> str:
        opener = ""
        if changelist.is_popup:
            opener = f' data-popup-opener="{escape(row.serializable_value(attribute))}"'
        return f'<a href="{before}/{quote(row.pk)}/{after}"{opener}>{cell(row)}</a>'

    return linked


def _remember(key_of: Callable[[Any], Any], show: Callable[[Any], str]) -> Callable[[Any], str]:
    """Return `show` with its results kept by key, as the rows of a page have few different ones.

    A key that cannot be one, such as a list, is shown anew. Keys of different types are different,
    although 1 and True are equal.
    """
    results: dict[tuple[type, Any], str] = {}

    def remembered(row: Any) -> str:
        key = key_of(row)
        try:
            result = results.get((type(key), key))
        except TypeError:
            return show(row)
        if result is None:
            result = results[(type(key), key)] = show(row)
        return result

    return remembered
