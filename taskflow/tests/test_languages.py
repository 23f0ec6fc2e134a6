"""Screens are in German or English. What programs read is English, whatever the browser asks for."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from datetime import date
from html import unescape
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.utils import timezone, translation

from accounts.actions.mails import build_invitation_mail, build_password_reset_mail
from taskflow.admin.refusals import describe_refusal, write_in_words
from taskflow.audit.actor import Actor
from taskflow.audit.event_words import show_value_on_screen
from taskflow.audit.history import USERS_OF_EVENT, read_history
from taskflow.audit.models import Event
from taskflow.http.errors import Conflict
from taskflow.tenancy import inside
from taskflow.tests.catalog import (
    CATALOG,
    ROOT,
    compile_catalog,
    find_texts,
    find_texts_of_unfold,
    read_catalog,
    write_catalog,
)
from tasks.actions.tags import create_tag
from tasks.admin.where import describe_where
from tasks.changes.tasks import complete_task, create_task, delete_task, update_task

pytestmark = pytest.mark.one_database

GERMAN = {"headers": {"accept-language": "de-DE,de;q=0.9,en;q=0.5"}}
PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[a-z%]|\{\w*\}")
PAGES = (
    "/admin/", "/admin/tasks/task/", "/admin/tasks/task/add/", "/admin/tasks/task/board/", "/admin/tasks/task/calendar/",
    "/admin/tasks/project/", "/admin/tasks/page/", "/admin/trash/", "/admin/tasks/claim/", "/admin/tasks/view/",
    "/admin/accounts/user/", "/admin/accounts/apitoken/", "/admin/inbox/", "/admin/usage/", "/admin/account/", "/admin/audit/event/",
    "/admin/tasks/task/?where=assignee%3Dme%26priority%3Dhigh%26overdue%3Dtrue",
)  # fmt: skip


@pytest.fixture(scope="module")
def catalog():
    return read_catalog(CATALOG.read_text())


def texts_of(response) -> list[str]:
    """Return the texts of a page, as a person sees them: without scripts and the names of icons."""
    page = re.sub(
        r"<(script|style|svg)\b.*?</\1>|<!--.*?-->", "", response.content.decode(), flags=re.S
    )
    page = re.sub(r"<span [^>]*material-symbols-outlined[^>]*>[^<]*</span>", "", page)
    return [" ".join(unescape(text).split()) for text in re.split(r"<[^>]*>", page)]


@pytest.mark.slow
def test_every_marked_text_is_in_german(catalog):
    texts = find_texts() | find_texts_of_unfold()

    assert sorted(texts - catalog.keys()) == [], "run make messages, and translate these"
    assert sorted(catalog.keys() - texts) == [], "run make messages: no code has these any more"
    assert [text.one for text, forms in catalog.items() if not all(forms)] == []
    wrong_count = [t.one for t, forms in catalog.items() if len(forms) != (2 if t.many else 1)]
    assert wrong_count == []


def test_translations_have_the_placeholders_of_their_texts(catalog):
    wrong = [
        (text.one, form)
        for text, forms in catalog.items()
        for form in forms
        if not set(PLACEHOLDER.findall(form)) <= set(PLACEHOLDER.findall(text.one + text.many))
        or not set(PLACEHOLDER.findall(text.one)) <= set(PLACEHOLDER.findall(form))
    ]

    assert wrong == []


def test_compiled_catalog_is_that_of_the_texts(catalog):
    assert write_catalog(catalog) == CATALOG.read_text()
    assert CATALOG.with_suffix(".mo").read_bytes() == compile_catalog(catalog), "run make messages"


def test_script_names_the_same_icons_in_both_languages():
    script = (ROOT / "taskflow/static/taskflow/accessibility.js").read_text()
    tables = [
        re.search(rf"const {name} = {{(.*?)}};", script, re.S)[1] for name in ("ENGLISH", "GERMAN")
    ]
    english, german = (re.findall(r"(\w+): \"", table) for table in tables)

    assert english == german


def test_german_has_its_plural_forms():
    with translation.override("de"):
        forms = [
            translation.ngettext("%(n)d task is changed.", "%(n)d tasks are changed.", n)
            for n in (0, 1, 2)
        ]

    assert forms == [
        "%(n)d Aufgaben sind geändert.",
        "%(n)d Aufgabe ist geändert.",
        "%(n)d Aufgaben sind geändert.",
    ]


@pytest.mark.sampled(17)
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.slow
def test_page_shows_no_english_text_that_has_a_translation(browser, catalog, page):
    english = {
        text.one for text, forms in catalog.items() if forms[0].casefold() != text.one.casefold()
    } - {form for forms in catalog.values() for form in forms}
    english -= {"Admin"}  # also the channel of events, which has this name in German too

    response = browser.get(page, **GERMAN)

    assert response.status_code == 200
    assert response["Content-Language"] == "de"
    assert '<html lang="de"' in response.content.decode()
    assert [text for text in texts_of(response) if text in english] == []


def test_language_is_that_of_the_cookie_before_that_of_the_browser(browser):
    assert "Papierkorb" in browser.get("/admin/", **GERMAN).content.decode()
    chosen = browser.post("/admin/language/", {"language": "en", "next": "/admin/inbox/"}, **GERMAN)

    assert (chosen.status_code, chosen.url) == (302, "/admin/inbox/")
    assert "Papierkorb" not in browser.get("/admin/", **GERMAN).content.decode()
    browser.post("/admin/language/", {"language": "de"})
    page = browser.get("/admin/")
    assert "Papierkorb" in page.content.decode()
    assert {"Accept-Language", "Cookie"} <= set(re.split(", *", page["Vary"]))


def test_language_can_be_chosen_in_the_menu_of_the_account(browser):
    page = browser.get("/admin/").content.decode()

    assert page.count('action="/admin/language/"') == 2
    assert "Deutsch" in page


def test_sign_in_page_is_in_the_language_of_the_browser(fixtures):
    assert "Passwort" in Client().get("/admin/login/", **GERMAN).content.decode()
    assert "Passwort" not in Client().get("/admin/login/").content.decode()


def test_mails_are_in_the_language_of_the_setting_and_not_in_that_of_the_page(fixtures, settings):
    ada = fixtures.ada

    with translation.override("de"):
        english = build_password_reset_mail(ada.tenant, ada.user, "x")
    settings.MAIL_LANGUAGE = "de"
    german = build_password_reset_mail(ada.tenant, ada.user, "x")

    assert english.text.startswith("Hello ")
    assert german.subject.startswith("Neues Passwort für")
    assert "innerhalb einer Stunde" in german.text
    assert "Einladung" in build_invitation_mail(ada, "eve@acme.example", "Eve", "x").subject


@pytest.mark.slow
def test_what_programs_read_is_english_for_everybody(as_, fixtures, browser):
    api = as_(fixtures.ada)
    browser.get("/admin/", **GERMAN)
    browser.cookies["taskflow_language"] = "de"

    for path in ("/api/v1/tasks/999999", "/api/v1/tasks?sort=nothing", "/api/v1/openapi.json"):
        plain, asked_in_german = api.get(path), api.get(path, **GERMAN)
        if "request_id" in plain.json():
            assert plain.json()["detail"] == asked_in_german.json()["detail"]
        else:
            assert plain.json() == asked_in_german.json()
        assert "Content-Language" not in asked_in_german
    problem = api.post("/api/v1/tasks", {}, **GERMAN).json()
    assert (
        problem["errors"][0]["detail"]
        == api.post("/api/v1/tasks", {}).json()["errors"][0]["detail"]
    )
    assert translation.get_language() == "en"


def path_above(browser, path: str) -> list[str]:
    """Return the links that stand above a page, in English."""
    page = browser.get(path).content.decode()
    title = page.partition("<h1")[2].partition("</h1>")[0]
    return [text.strip() for text in re.findall(r">\s*([^<>]*?)\s*</a >", title)]


def test_path_above_a_page_names_app_and_model_of_one_name_once(browser, fixtures):
    task = f"/admin/tasks/task/{fixtures.task.pk}/change/"

    assert path_above(browser, "/admin/tasks/task/") == ["Tasks"]
    assert path_above(browser, task)[0] == "Tasks"
    assert len(path_above(browser, task)) == 2
    assert path_above(browser, "/admin/tasks/project/") == ["Tasks", "Projects"]


def test_buttons_say_what_they_do_in_the_order_of_german_words(browser, fixtures):
    task = f"/admin/tasks/task/{fixtures.task.pk}"

    change_page = texts_of(browser.get(f"{task}/change/", **GERMAN))
    comments = texts_of(browser.get(f"{task}/comments/", **GERMAN))

    assert "Aufgabe löschen" in change_page
    assert not any("Löschen Aufgabe" in text for text in change_page)
    assert comments.count("Kommentar hinzufügen") == 2  # the label of the field, and the button


def history_of(actor: Actor, *, on_screen: bool) -> list[str]:
    with inside(actor.tenant):
        events = Event.objects.filter(subject_type="task").select_related(*USERS_OF_EVENT)
        entries = read_history(actor, list(events.order_by("id")), on_screen=on_screen)
        return [entry.sentence for entry in entries]


def test_events_are_sentences_in_the_language_of_the_page(fixtures):
    ada = fixtures.ada
    with inside(fixtures.acme):
        update_task(ada, fixtures.task, priority="high", due_on=date(2026, 1, 31))
        complete_task(ada, fixtures.task)
        delete_task(ada, fixtures.task)

    with translation.override("de"):
        german = history_of(ada, on_screen=True)

    assert german[-3:] == [
        "Ada (@ada) hat die Aufgabe geändert: „fällig am“ auf 31.01.2026 und"
        " „Priorität“ von Mittel auf Hoch",
        "Ada (@ada) hat die Aufgabe abgeschlossen",
        "Ada (@ada) hat die Aufgabe in den Papierkorb gelegt",
    ]
    assert history_of(ada, on_screen=True)[-3].endswith(
        "changed the task: due on to 2026-01-31 and priority from Medium to High"
    )
    assert history_of(ada, on_screen=False)[-3].endswith(
        "changed the task: due on to 2026-01-31 and priority from medium to high"
    )


def test_screens_show_recorded_times_in_the_zone_of_the_tenant():
    shown = ("task", "due_date", "2026-12-01T13:30:00+00:00", {})

    with timezone.override(ZoneInfo("Europe/Berlin")):
        assert show_value_on_screen(*shown) == "2026-12-01 14:30 CET"
        assert write_in_words("Ada changed it at 2026-12-01T13:30:00Z.") == (
            "Ada changed it at 2026-12-01 14:30 CET."
        )
        with translation.override("de"):
            assert show_value_on_screen(*shown) == "01.12.2026 14:30 CET"


def test_filters_of_a_list_are_in_german(fixtures):
    with translation.override("de"):
        described = describe_where("assignee=me&priority_not=high&tag=high&completed_after=7d")

    assert [(f.label, f.values) for f in described] == [
        ("zugewiesen an", "ich"),
        ("nicht: Priorität", "hoch"),
        ("Schlagwort", "high"),
        ("abgeschlossen nach", "7d"),
    ]


def test_refusals_are_in_german_on_screens_and_english_for_programs(fixtures, as_):
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="a_part", parent=fixtures.task)

    with (
        inside(fixtures.acme),
        translation.override("de"),
        pytest.raises(Conflict) as raised,
    ):
        complete_task(fixtures.ada, fixtures.task)
    refusal = describe_refusal(raised.value)
    answered = as_(fixtures.ada).post("/tasks/APO-1/completion", **GERMAN).json()

    assert refusal.sentence == (
        "APO-1 hat offene Teilaufgaben oder blockierende Aufgaben. Bitte diese zuerst abschließen."
    )
    assert refusal.reasons[0].text == "Die Teilaufgabe APO-2 “a_part” ist offen."
    assert answered["errors"][0]["detail"] == "The subtask APO-2 “a_part” is open."


def test_values_that_are_refused_are_described_in_the_language_of_the_page(browser, as_, fixtures):
    form = {"title": "a\u2028b", "project": fixtures.apollo.pk, "status": "todo", "priority": "low"}
    body = {"project_id": fixtures.apollo.pk, "title": "x" * 501}

    page = browser.post("/admin/tasks/project/add/", {"name": "x", "key": "a b"}, **GERMAN)
    both = browser.post("/admin/tasks/task/add/", form, **GERMAN)
    answered = as_(fixtures.ada).post("/tasks", body, **GERMAN).json()

    assert "„Schlüssel“ muss nur Großbuchstaben und Ziffern haben" in page.content.decode()
    assert "„Titel“ muss eine Zeile sein" in both.content.decode()
    assert answered["errors"][0]["detail"] == (
        "“title” can have at most 500 characters; it has 501."
    )


def test_taken_name_is_described_in_the_language_of_the_page(browser, as_, fixtures):
    with inside(fixtures.acme):
        create_tag(fixtures.boss, name="hot")

    page = browser.post("/admin/tasks/tag/add/", {"name": "HOT"}, **GERMAN).content.decode()
    answered = as_(fixtures.ada).post("/tags", {"name": "HOT"}, **GERMAN).json()

    assert "Ein Schlagwort dieses Namens gibt es schon" in page
    assert answered["detail"] == "A tag of this name exists; case does not count."


@pytest.mark.slow
def test_catalog_can_be_written_from_the_command_line():
    """`make messages` fails for a text without a translation, and changes nothing otherwise."""
    ended = subprocess.run([sys.executable, "-m", "taskflow.tests.catalog"], cwd=ROOT, check=False)

    assert ended.returncode == 0


SENTENCE = re.compile(r"[A-Z][a-z]+ [a-z]+ [a-z]+[^<]*[.!?]")
MARKS = {"gettext", "gettext_lazy", "ngettext", "ngettext_lazy", "_", "translate"}


def unmarked_sentences_in(path: Path) -> list[str]:
    """Return the sentences of a module that are neither marked for translation nor a docstring."""
    tree, marked = ast.parse(path.read_text()), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            marked |= {id(inner) for inner in ast.walk(node) if node.func.id in MARKS}
        elif isinstance(node, ast.Expr):
            marked.add(id(node.value))
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and id(node) not in marked
        if isinstance(node.value, str) and SENTENCE.search(node.value)
    ]


def test_sentences_of_the_modules_of_screens_are_marked_for_translation():
    packages = ("accounts/admin", "tasks/admin", "taskflow/admin")
    files = [file for package in packages for file in (ROOT / package).rglob("*.py")]

    assert len(files) > 50
    assert [text for file in files for text in unmarked_sentences_in(file)] == []
