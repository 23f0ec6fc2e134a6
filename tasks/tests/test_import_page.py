"""The page of the admin that imports CSV, and the download of a list as CSV."""

from __future__ import annotations

import zlib
from base64 import b64encode

import pytest
from django.contrib.messages import get_messages
from django.core.files.uploadedfile import SimpleUploadedFile

from conftest import sign_in_browser
from taskflow.tenancy import inside
from tasks.admin.csv_import.upload import pack, unpack
from tasks.changes.tasks import create_task
from tasks.models import Task

pytestmark = pytest.mark.one_database

IMPORT = "/admin/import/"
FILE = 'Summary,Assigned to,Due,Budget\n"Pack\nflags",@bob,2026-12-01,7\nSail,,,\n'


def upload(browser, fixtures, content=FILE, **more):
    content = content.encode() if isinstance(content, str) else content
    file = SimpleUploadedFile("tasks.csv", content, "text/csv")
    return browser.post(IMPORT, {"project": fixtures.apollo.pk, "file": file} | more)


def again(browser, response, **more):
    """Send the form of a page as a browser would, with the file in its hidden field."""
    context = response.context
    chosen = {column.name: column.target for column in context["columns"]}
    form = context["form"]
    fields = {n: form[n].value() or "" for n in ("project", "on_existing", "date_order")}
    return browser.post(IMPORT, fields | chosen | {"packed": context["packed"]} | more)


def message_of(response):
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def titles(fixtures):
    with inside(fixtures.acme):
        return set(Task.objects.filter(project=fixtures.apollo).values_list("title", flat=True))


def test_upload_shows_the_columns_and_what_would_happen(fixtures, browser):
    before = titles(fixtures)

    r = upload(browser, fixtures, FILE.replace("\nflags", " flags"))

    columns = [(c.header, c.target, c.sample) for c in r.context["columns"]]
    assert columns == [
        ("Summary", "title", "Pack flags"),
        ("Assigned to", "assignee", "@bob"),
        ("Due", "due", "2026-12-01"),
        ("Budget", "", "7"),
    ]
    assert "2 tasks are created." in r.content.decode()
    assert "Import 2 rows" in r.content.decode()
    assert titles(fixtures) == before


def test_import_of_the_page_creates_the_tasks_and_links_to_their_undo(fixtures, browser, events):
    shown = upload(browser, fixtures, FILE.replace("\nflags", " flags"))

    r = again(browser, shown, **{"import": "1"})

    assert (r.status_code, r["Location"]) == (302, "/admin/tasks/task/?where=project%3DAPO")
    assert "2 tasks are created." in message_of(r)
    assert f'value="{r["X-Request-Id"]}"' in message_of(r)
    assert {"Pack flags", "Sail"} <= titles(fixtures)
    with inside(fixtures.acme):
        task = Task.objects.get(title="Pack flags")
        assert (task.assignee_id, str(task.due_on)) == (fixtures.bob.user.pk, "2026-12-01")
    assert {e.via for e in events(fixtures.acme, request_id=r["X-Request-Id"])} == {"admin"}


def test_another_mapping_can_be_tried(fixtures, browser):
    shown = upload(browser, fixtures, "A,B\nx,y\n")
    assert "must name the column title" in shown.content.decode()

    tried = again(browser, shown, column_0="", column_1="title")

    assert [c.target for c in tried.context["columns"]] == ["", "title"]
    assert "1 task is created." in tried.content.decode()
    again(browser, tried, **{"import": "1"})
    assert "y" in titles(fixtures)


def test_every_refused_cell_is_listed_in_words_and_nothing_is_imported(fixtures, browser):
    content = (
        "title,priority,assignee,due_on\na,urgent,,\nb,low,@nobody,\nc,low,,1/2/2026\n<i>,low,,\n"
    )
    before = titles(fixtures)

    for more in ({}, {"import": "1"}):
        r = upload(browser, fixtures, content, **more)
        errors = r.context["trial"].errors
        assert [(error.row, error.column) for error in errors] == [
            (2, "priority"), (3, "assignee"), (4, "due_on"),
        ]  # fmt: skip
        assert "`" not in "".join(error.sentence for error in errors)
        assert 'name="import"' not in r.content.decode()
    assert titles(fixtures) == before
    r = again(browser, r, date_order="dmy", column_1="", column_2="")
    assert "4 tasks are created." in r.content.decode()


@pytest.mark.slow
def test_rows_of_tasks_that_exist_are_changed_or_left_out(fixtures, browser):
    content = f"key,title\n{fixtures.task.key},Renamed\n"

    r = upload(browser, fixtures, content)
    assert "is in the project already" in r.context["trial"].errors[0].sentence
    r = again(browser, r, on_existing="skip", **{"import": "1"})
    assert "1 rows are left out." in message_of(r)
    r = upload(browser, fixtures, content, on_existing="update", **{"import": "1"})
    assert "Renamed" not in titles(fixtures), "a new file is shown first"
    again(browser, r, **{"import": "1"})
    assert "Renamed" in titles(fixtures)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b"\x00\x01", "no text file"),
        (b'title\n"x', "not valid CSV"),
        (b"title\na,b\n", "has 2 cells"),
        (b"\n", "must contain the names"),
    ],
)
def test_file_that_cannot_be_read_is_refused_with_a_sentence(fixtures, browser, content, sentence):
    r = upload(browser, fixtures, content)

    assert (r.status_code, sentence in r.content.decode()) == (200, True), r.content.decode()
    assert not r.context["columns"]


def test_file_of_a_spreadsheet_in_windows_1252_is_read(fixtures, browser):
    r = upload(browser, fixtures, "title;tags\nKür;ä\n".encode("cp1252"))

    assert r.context["columns"][0].sample == "Kür"


@pytest.mark.parametrize(
    "packed", ["x", "====", "eJw=", b64encode(zlib.compress(b"\xff")).decode()]
)
def test_hidden_file_that_was_changed_is_refused(fixtures, browser, packed):
    r = browser.post(IMPORT, {"project": fixtures.apollo.pk, "packed": packed})

    assert "cannot be read any more" in r.content.decode()


def test_hidden_file_of_excessive_size_is_refused_without_unpacking_it(fixtures, browser):
    bomb = b64encode(zlib.compress(b"a" * 5_000_000)).decode()

    r = browser.post(IMPORT, {"project": fixtures.apollo.pk, "packed": bomb})

    assert "cannot be read any more" in r.content.decode()


def test_packed_text_is_unpacked_unchanged():
    text = 'a,"b\r\nc\nd\re",ü\n'

    assert unpack(pack(text)) == text


def test_form_without_a_file_or_with_a_project_of_others_is_refused(fixtures, browser):
    assert (
        "Choose a file." in browser.post(IMPORT, {"project": fixtures.apollo.pk}).content.decode()
    )
    with inside(fixtures.globex):
        secret = fixtures.secret_task.project_id
    r = browser.post(IMPORT, {"project": secret, "packed": pack("title\nx\n")})
    assert "Choose a value of the list." in r.content.decode()


def test_member_imports_into_own_projects_only(fixtures, client):
    client.defaults["SERVER_NAME"] = "acme.localhost"
    for actor, count in ((fixtures.bob, 1), (fixtures.eve, 0)):
        with inside(fixtures.acme):
            sign_in_browser(client, actor.user)
        r = client.get(IMPORT)
        assert (r.status_code, r.content.decode().count("Apollo</option>")) == (200, count)


def test_download_has_exactly_the_tasks_of_the_list(fixtures, browser):
    with inside(fixtures.acme):
        for title in ("late", "later"):
            create_task(fixtures.ada, fixtures.apollo, title=title, priority="high")

    r = browser.get("/admin/tasks/task/export/?where=priority%3Dhigh&q=later")

    text = b"".join(r).decode()
    assert (r.status_code, r["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert len(text.splitlines()) == 2
    assert "later" in text
    assert browser.get("/admin/tasks/task/export/?nonsense=1").status_code == 302
