"""Links of tasks to pages elsewhere, through every channel."""

from __future__ import annotations

import csv
import io

import pytest
from django.test import Client

from conftest import PASSWORD, new_tenant
from taskflow.http.schema import is_web_url
from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task
from tasks.models import Task
from tasks.schemas.links import MAX_LINKS

pytestmark = pytest.mark.one_database

DESIGN = {"url": "https://example.com/design?a=1&b=2#top", "title": "Design “v2”"}
PLAIN = {"url": "http://example.com", "title": None}
GOOD_URLS = [
    "https://example.com",
    "HTTP://EXAMPLE.com:8080/a/b;c?d=e&f=%20#g",
    "https://münchen.example/straße?q=日本",
    "https://[::1]:8000/x",
    "http://127.0.0.1/",
    "https://example.com/(a)'b'*!$,",
    "https://example.com/" + "x" * 2028,
]
BAD_URLS = [
    "javascript:alert(1)",
    "JavaScript://example.com/%0aalert(1)",
    "data:text/html,x",
    "ftp://example.com",
    "//example.com",
    "example.com",
    "https://",
    "https:///path",
    "https:example.com",
    "https://user:secret@example.com/",
    "https://example.com@evil.example/",
    "https://exa mple.com",
    "https://example.com/a b",
    "https://example.com/\u00a0x",
    "https://example.com/\u202egpj",
    "https://example.com/\u200b",
    "https://example.com/\nx",
    "https://example.com/<b>",
    'https://example.com/"onclick',
    "https://example.com\\@evil.example",
    "https://example.com:99999",
    "https://example.com:port",
    "https://[::1",
    "https://a℀b.example",
    "https://example.com/" + "x" * 2029,
    "",
]


@pytest.fixture
def client(fixtures, as_):
    return as_(fixtures.ada)


@pytest.mark.parametrize("url", GOOD_URLS)
def test_url_with_http_or_https_is_stored_as_it_is(client, url):
    r = client.patch("/tasks/APO-1", {"links": [{"url": url}]})

    assert r.status_code == 200, r.content
    assert r.json()["links"] == [{"url": url, "title": None}]
    assert client.get("/tasks/APO-1").json()["links"] == r.json()["links"]


@pytest.mark.parametrize("url", BAD_URLS)
def test_other_url_is_refused(client, url):
    r = client.patch("/tasks/APO-1", {"links": [PLAIN, {"url": url}]})

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/links/1/url")
    assert not is_web_url(url) or len(url) > 2048


@pytest.mark.parametrize(
    ("links", "pointer"),
    [
        ([PLAIN] * (MAX_LINKS + 1), "#/links"),
        ([{"title": "x"}], "#/links/0/url"),
        ([PLAIN | {"title": "a\nb"}], "#/links/0/title"),
        ([PLAIN | {"title": ""}], "#/links/0/title"),
        ([PLAIN | {"title": "\u200b"}], "#/links/0/title"),
        ([PLAIN | {"title": "x" * 256}], "#/links/0/title"),
        ([PLAIN | {"rel": "x"}], "#/links/0/rel"),
        (["https://example.com"], "#/links/0"),
        ([None], "#/links/0"),
        (None, "#/links"),
        ({"url": "https://example.com"}, "#/links"),
    ],
)
def test_malformed_links_are_refused(client, links, pointer):
    r = client.patch("/tasks/APO-1", {"links": links})

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, pointer)
    assert client.get("/tasks/APO-1").json()["links"] == []


def test_largest_links_are_stored(client):
    largest = [{"url": GOOD_URLS[-1], "title": "ü" * 255}] * MAX_LINKS

    assert client.patch("/tasks/APO-1", {"links": largest}).json()["links"] == largest


# ---- channels -----------------------------------------------------------------------------------


def test_links_are_set_by_every_operation_that_sets_fields(fixtures, client):
    links = [DESIGN, PLAIN]
    created = client.post("/tasks", {"project": "APO", "title": "x", "links": links})
    upserted = client.put("/projects/APO/tasks/by-ref/r", {"title": "x", "links": links})
    project = {"name": "Zeus", "key": "ZEU", "tasks": [{"title": "x", "links": links}]}
    client.post("/projects", project)
    operations = [
        {"op": "create", "data": {"project": "APO", "title": "x", "links": links}},
        {"op": "update", "id": "APO-1", "data": {"links": links}},
    ]
    bulk = client.post("/tasks/bulk", {"operations": operations}).json()

    stored = [created.json(), upserted.json(), client.get("/tasks/ZEU-1").json()]
    stored += [result["task"] for result in bulk["results"]]
    assert [task["links"] for task in stored] == [links] * 5
    assert {"links": links}.items() <= client.get("/tasks").json()["data"][0].items()


def test_wrong_link_of_an_operation_has_a_pointer_to_it(client):
    operations = [{"op": "update", "id": "APO-1", "data": {"links": [{"url": "x"}]}}]
    bulk = client.post("/tasks/bulk", {"operations": operations}).json()
    project = {"name": "Zeus", "tasks": [{"title": "x", "links": [{"url": "x"}]}]}
    first = client.post("/projects", project).json()

    assert bulk["errors"][0]["pointer"] == "#/operations/0/data/links/0/url"
    assert first["errors"][0]["pointer"] == "#/tasks/0/links/0/url"


def test_change_of_links_is_recorded_shown_and_undone(fixtures, client, events):
    client.patch("/tasks/APO-1", {"links": [PLAIN]})
    request_id = client.patch("/tasks/APO-1", {"links": [DESIGN]}).headers["X-Request-Id"]

    event = events(fixtures.acme, subject_type="task")[-1]
    assert event.changes == {"links": [[PLAIN], [DESIGN]]}
    (entry, *_) = client.get("/tasks/APO-1/events").json()["data"]
    assert entry["sentence"] == "Ada (@ada) changed the task: links"
    client.post("/undo", {"request_id": request_id})
    assert client.get("/tasks/APO-1").json()["links"] == [PLAIN]


def test_links_that_are_stored_already_change_nothing(client):
    before = client.patch("/tasks/APO-1", {"links": [DESIGN]})

    after = client.patch("/tasks/APO-1", {"links": [dict(reversed(DESIGN.items()))]})

    assert after.json()["version"] == before.json()["version"] == 2


def test_conflict_of_links_has_both_values(fixtures, as_, client):
    etag = client.patch("/tasks/APO-1", {"links": [PLAIN]}).headers["ETag"]
    as_(fixtures.bob).patch("/tasks/APO-1", {"links": [DESIGN]})

    r = client.patch("/tasks/APO-1", {"links": []}, headers={"If-Match": etag})

    (error,) = r.json()["errors"]
    values = {"pointer": "#/links", "yours": [], "theirs": [DESIGN], "base": [PLAIN]}
    assert values.items() <= error.items()


# ---- CSV ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "links"),
    [
        ("https://a.example", ["https://a.example"]),
        (
            " https://a.example\n  http://b.example/x;y,z ",
            ["https://a.example", "http://b.example/x;y,z"],
        ),
        ('[{"url": "https://a.example"}]', ["https://a.example"]),
        ("", []),
    ],
)
def test_cell_contains_urls_or_json(client, cell, links):
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["title", "links"], ["x", cell]])

    r = client.generic("POST", "/projects/APO/tasks.csv", file.getvalue(), content_type="text/csv")

    assert r.status_code == 200, r.content
    stored = client.get("/tasks/APO-2").json()["links"]
    assert stored == [{"url": url, "title": None} for url in links]


@pytest.mark.parametrize(
    "cell", ["a.example", "[1", '{"url": "https://a.example"}', "[1]", "javascript:x"]
)
def test_wrong_cell_is_refused_with_its_column(client, cell):
    file = io.StringIO(newline="")
    csv.writer(file).writerows([["title", "links"], ["x", cell]])

    r = client.generic("POST", "/projects/APO/tasks.csv", file.getvalue(), content_type="text/csv")

    assert (r.status_code, r.json()["errors"][0]["column"]) == (422, "links")


def test_export_comes_back_equal(fixtures, client):
    lists = [[DESIGN, PLAIN], [PLAIN, PLAIN], []]
    with inside(fixtures.acme):
        create_project(fixtures.ada, name="Copy", key="COPY")
        for links in lists:
            create_task(fixtures.ada, fixtures.apollo, title="x", links=links)
    text = client.get("/projects/APO/tasks.csv").content

    client.generic(
        "POST",
        "/projects/COPY/tasks.csv?ignore=created_by&ignore=created_at&ignore=completed_at",
        text,
        content_type="text/csv",
    )

    tasks = client.get("/tasks?project=COPY&sort=number").json()["data"]
    assert [task["links"] for task in tasks] == [[], *lists]


# ---- the admin ----------------------------------------------------------------------------------


@pytest.fixture
def admin_page(db):
    """Sign in as an administrator. Returns the client, the actor and the address of a task."""
    boss = new_tenant("acme", "boss", PASSWORD)
    with inside(boss.tenant):
        project = create_project(boss, name="Apollo", key="APO")
        task = create_task(boss, project, title="x", links=[DESIGN, PLAIN])
    client = Client(SERVER_NAME="acme.localhost")
    email = boss.user.email
    client.post("/admin/login/?next=/admin/", {"username": email, "password": PASSWORD})
    return client, boss, f"/admin/tasks/task/{task.pk}/change/"


def form_of(client, address):
    form = client.get(address).context["adminform"].form
    values = {name: form[name].value() for name in form.fields}
    return {name: value for name, value in values.items() if value is not None} | {"metadata": "{}"}


def stored_links(boss):
    with inside(boss.tenant):
        return Task.objects.get().links


@pytest.mark.slow
def test_admin_form_shows_a_line_and_a_safe_link_for_each(admin_page):
    client, _boss, address = admin_page

    html = client.get(address).content.decode()

    assert form_of(client, address)["links"] == (
        "https://example.com/design?a=1&b=2#top Design “v2”\nhttp://example.com"
    )
    anchor = 'href="https://example.com/design?a=1&amp;b=2#top" target="_blank"'
    assert f'{anchor} rel="noopener noreferrer">Design “v2”</a>' in html
    assert 'rel="noopener noreferrer">http://example.com</a>' in html


@pytest.mark.slow
def test_admin_form_saves_lines_as_links(admin_page):
    client, boss, address = admin_page
    form = form_of(client, address)

    unchanged = client.post(address, form)
    assert (unchanged.status_code, stored_links(boss)) == (302, [DESIGN, PLAIN])
    with inside(boss.tenant):
        assert Task.objects.get().version == 1
    r = client.post(address, form | {"links": "\n https://new.example   A  title \n\n"})

    assert r.status_code == 302, r.content
    assert stored_links(boss) == [{"url": "https://new.example", "title": "A  title"}]
    client.post(address, form_of(client, address) | {"links": ""})
    assert stored_links(boss) == []


def test_admin_form_refuses_other_addresses_and_shows_no_link_to_them(admin_page):
    client, boss, address = admin_page
    sent = 'javascript:alert(1) x\nhttps://example.com/<script> y\nhttps://ok.example <b>"'

    r = client.post(address, form_of(client, address) | {"links": sent})

    html = r.content.decode()
    assert (r.status_code, stored_links(boss)) == (200, [DESIGN, PLAIN])
    assert "must be a URL that begins with http:// or https://" in html
    assert 'href="javascript' not in html.lower()
    assert 'href="https://example.com/<' not in html
    assert "&lt;b&gt;&quot;</a>" in html
    assert r.context["adminform"].form["links"].value() == sent
