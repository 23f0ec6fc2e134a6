"""The rows of the lists of the admin: they show what Unfold's show, and escape every value."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib import admin
from django.test import RequestFactory
from django.utils import translation
from django.utils.html import strip_tags
from unfold.templatetags.unfold_list import results

from accounts.models import User
from conftest import Fixtures
from taskflow.admin.empty import EMPTY
from taskflow.admin.list_rows import ListRows
from taskflow.admin.template_loader import remove_indentation
from taskflow.audit.recorder import create_all
from taskflow.tenancy import inside
from tasks.changes.tasks import complete_task
from tasks.models import Project, Tag, Task
from tasks.tests.factories import TaskFactory

pytestmark = pytest.mark.one_database

REGISTERED = sorted(admin.site._registry, key=lambda model: model.__name__)
LISTED = [model for model in REGISTERED if hasattr(admin.site._registry[model], "check_view")]
MARKUP = """<i id=x>"'&amp; %s %(x)s </td></tr><script>alert(1)</script>"""
ALLOWED_TAGS = {"tr", "td", "th", "input", "a", "span", "b", "i", "small"}


class Tags(HTMLParser):
    """Collects the tags and the attributes of a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _value in attrs}


@pytest.fixture
def list_of(fixtures: Fixtures) -> Any:
    """list_of(model) returns the list of the model as the administrator of Acme sees it."""

    def build(model: Any, query: str = "") -> Any:
        request: Any = RequestFactory().get(f"/admin/?{query}")
        request.user, request.actor = fixtures.boss.user, fixtures.boss
        request.permissions, request.missing_permission = {}, None
        request.admin_tenant = fixtures.acme
        return admin.site._registry[model].get_changelist_instance(request)

    return build


def words_of(html: str) -> list[str]:
    return strip_tags(html.replace("<", " <")).split()


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("model", LISTED, ids=lambda model: model.__name__)
def test_cells_show_the_texts_of_those_of_unfold(fixtures, list_of, model, language):
    with inside(fixtures.acme), translation.override(language):
        changelist = list_of(model)
        rows = ListRows(changelist)
        ours = rows.render()
        theirs = "".join(f"<tr>{''.join(row)}</tr>" for row in results(changelist))

    assert words_of(ours) == words_of(theirs)
    assert re.findall(r"<(t[hd])\b", ours) == re.findall(r"<(t[hd])\b", theirs)
    assert re.findall(r'href="([^"]*)"', ours) == re.findall(r'href="([^"]*)"', theirs)


def test_every_value_of_a_task_is_escaped(fixtures, list_of):
    with inside(fixtures.acme):
        TaskFactory(
            actor=fixtures.ada, project=fixtures.apollo, assignee=fixtures.ada.user, tags=["hot"]
        )
        for model in (Task, Project, User, Tag):
            names = {f.name for f in model._meta.concrete_fields if f.get_internal_type() in TEXTS}
            for row in (rows := list_of(model)).result_list:
                write_markup(row, names)
                for name in ("project", "assignee"):
                    if getattr(row, name, None):
                        write_markup(getattr(row, name), {"name", "key", "full_name", "handle"})
            text = ListRows(rows).render()

            found = Tags(text)
            assert set(found.tags) <= ALLOWED_TAGS
            assert found.tags.count("tr") == len(rows.result_list) > 0
            assert "id" not in found.attributes
            assert "&lt;script&gt;" in text


TEXTS = {"CharField", "TextField", "EmailField", "SlugField"}
# The keys of colors and words, which are not shown.
KEYS = {"status", "priority", "outcome", "kind"}


def write_markup(row: Any, names: set[str]) -> None:
    for name in names - KEYS:
        row.__dict__[name] = MARKUP


def test_titles_of_columns_are_strings_of_css(fixtures, list_of, monkeypatch):
    method = admin.site._registry[Task].show_due.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(method, "short_description", 'due";}</style>\\')

    with inside(fixtures.acme), translation.override("de"):
        titles = ListRows(list_of(Task)).titles

    assert titles.startswith('--c1:"Eintrag auswählen";--c2:"Aufgabe";--c3:"Projekt";')
    assert r'--c7:"due\22 \3b \7d \3c \2f style\3e \5c ";' in titles


def test_links_of_rows_keep_the_filters_of_the_list(fixtures, browser):
    with inside(fixtures.acme):
        task = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title="Weld")

    page = browser.get("/admin/tasks/task/?status__exact=todo").content.decode()

    assert f"/admin/tasks/task/{task.pk}/change/?_changelist_filters=status__exact%3Dtodo" in page


def test_rows_in_the_trash_have_no_link(fixtures, browser):
    with inside(fixtures.acme):
        task = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title="Weld")
        complete_task(fixtures.ada, task)
    browser.post(
        "/admin/tasks/task/", {"action": "delete_selected", "_selected_action": task.pk, "post": 1}
    )

    page = browser.get("/admin/tasks/task/?trash=1").content.decode()

    assert "Weld" in page
    assert f"/admin/tasks/task/{task.pk}/change/" not in page


@pytest.mark.parametrize("model", LISTED, ids=lambda model: model.__name__)
def test_no_list_has_what_rows_do_not_show(model):
    model_admin: Any = admin.site._registry[model]

    for name in ("list_editable", "list_sections", "actions_row", "ordering_field"):
        assert not getattr(model_admin, name, ()), f"taskflow/admin/list_rows.py has no {name}."
    assert len(model_admin.list_display) < 12, "Give lists.css the titles of more columns."


@pytest.mark.parametrize(
    ("text", "loaded"),
    [
        (
            "<ul>\n    <li>\n\n  {{ a }}  {{ b }}\n    </li>\n",
            "<ul>\n<li>\n{{ a }}  {{ b }}\n</li>\n",
        ),
        ("{% blocktranslate %}\n  of the catalog\n{% endblocktranslate %}", None),
        ("<textarea>\n  kept\n</textarea>", None),
    ],
    ids=["indented", "translated", "shown as written"],
)
def test_templates_are_loaded_without_their_indentation(text, loaded):
    assert remove_indentation(text) == (loaded or text)


def test_sign_between_two_page_numbers_is_no_link(fixtures, browser, monkeypatch):
    """Unfold's is a link to `?p=%E2%80%A6`, which shows the first page."""
    monkeypatch.setattr(admin.site._registry[Tag], "list_per_page", 1)
    with inside(fixtures.acme):
        create_all(fixtures.boss, [Tag(name=f"t{n}") for n in range(15)])

    page = browser.get("/admin/tasks/tag/").content.decode()

    assert re.findall(r'href="\?p=([^"]*)"', page) == ["2", "3", "4", "14", "15"]
    assert re.search(r">\s*…\s*<", page)


def test_lists_and_pages_show_one_sign_for_no_value(fixtures, browser):
    addresses = [f"/admin/{m._meta.app_label}/{m._meta.model_name}/" for m in LISTED]
    addresses.append(f"/admin/accounts/user/{fixtures.ada.user.pk}/change/")
    pages = [browser.get(address).content.decode() for address in addresses]

    assert [
        a for a, page in zip(addresses, pages, strict=True) if re.search(r">\s*-\s*<", page)
    ] == []
    assert sum(page.count(f">{EMPTY}<") for page in pages) > 10
