"""Titles and names are one visible line. Texts of several lines keep their indentation."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from accounts.models import User
from conftest import PASSWORD
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.models import Page, Project, Tag, Task
from tasks.tests.test_admin import address, form_of, sign_in

pytestmark = pytest.mark.one_database

REFUSED = {
    "line break": "a\nb",
    "carriage return": "a\rb",
    "tab": "a\tb",
    "escape": "a\x1bb",
    "next line": "a\x85b",
    "line separator": "a\u2028b",
    "paragraph separator": "a\u2029b",
    "zero width": "\u200b\u200d",
    "direction": "\u202e",
    "soft hyphen": "\u00ad",
    "fillers": "\u3164\uffa0",
    "braille blank": "\u2800",
    "variation selectors": "\ufe0f\U000e0100",
}
ACCEPTED = [
    "a b",
    "👩\u200d🚀",
    "\u202eabc\u202c",
    "x\u0301",
    "日本",
    "می\u200cخواهم",
    "…",
    "\ue000",
]


def requests_with(fixtures, text):
    """Each request that sets a text of one line, as (pointer, method, path, body)."""
    apollo, task = fixtures.apollo.pk, fixtures.task.pk
    person = {"handle": "new", "email": "new@acme.example"}
    bulk = {"op": "create", "data": {"project_id": apollo, "title": text}}
    return [
        ("title", "post", "/tasks", {"project_id": apollo, "title": text}),
        ("title", "patch", f"/tasks/{task}", {"title": text}),
        ("title", "put", f"/projects/{apollo}/tasks/by-ref/x", {"title": text}),
        ("operations/0/data/title", "post", "/tasks/bulk", {"operations": [bulk]}),
        ("name", "patch", f"/projects/{apollo}", {"name": text}),
        ("tasks/0/title", "post", "/projects", {"name": "x", "tasks": [{"title": text}]}),
        ("title", "post", "/pages", {"project_id": apollo, "title": text}),
        ("name", "post", "/tags", {"name": text}),
        ("tags/0", "patch", f"/tasks/{task}", {"tags": [text]}),
        ("full_name", "post", "/users", person | {"full_name": text}),
        ("full_name", "patch", "/me", {"full_name": text}),
        ("name", "patch", "/tenant", {"name": text}),
        ("name", "post", "/tokens", {"name": text}),
    ]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.slow
def test_text_that_is_no_visible_line_is_refused_everywhere(fixtures, as_, text):
    client = as_(fixtures.boss)

    for pointer, method, path, body in requests_with(fixtures, text):
        r = getattr(client, method)(path, body)
        assert r.status_code == 422, (method, path, r.content)
        assert r.json()["errors"][0]["pointer"] == f"#/{pointer}", path
        assert "must" in r.json()["errors"][0]["detail"]
    csv = client.post("/projects/APO/tasks.csv", f'title\n"{text}"\n', content_type="text/csv")
    assert (csv.status_code, csv.json()["errors"][0]["column"]) == (422, "title")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("text", ACCEPTED)
@pytest.mark.slow
def test_visible_line_is_stored_as_it_was_sent(fixtures, as_, text):
    client = as_(fixtures.boss)

    for pointer, method, path, body in requests_with(fixtures, text):
        r = getattr(client, method)(path, body)
        assert r.status_code in (200, 201), (method, path, r.content)
        if "/" not in pointer:
            assert r.json()[pointer] == text, path


# ---- values that were stored before -------------------------------------------------------------


@pytest.fixture
def stored(fixtures):
    """A task, a page, a project and a tag with two lines in their titles and names."""
    with inside(fixtures.acme):
        tag = Tag.objects.create(name="x", tenant_id=fixtures.acme.pk)
        page = Page.objects.create(
            title="x", project=fixtures.apollo, owner=fixtures.ada.user, tenant_id=fixtures.acme.pk
        )
        Task.objects.filter(pk=fixtures.task.pk).update(title=" two\nlines")
        Page.objects.filter(pk=page.pk).update(title="two\nlines")
        Project.objects.filter(pk=fixtures.apollo.pk).update(name="two\nlines")
        Tag.objects.filter(pk=tag.pk).update(name="two\nlines", name_folded="two\nlines")
        User.objects.filter(pk=fixtures.ada.user.pk).update(full_name="two\nlines")
    return {"page": page, "tag": tag}


def test_change_of_another_field_leaves_a_stored_text_of_two_lines_alone(fixtures, as_, stored):
    client = as_(fixtures.boss)
    tag, page = stored["tag"].pk, stored["page"].pk

    for path, body, name in (
        (f"/tasks/{fixtures.task.pk}", {"priority": "high"}, "title"),
        (f"/pages/{page}", {"body": "x"}, "title"),
        (f"/projects/{fixtures.apollo.pk}", {"description": "x"}, "name"),
        (f"/tags/{tag}", {"color": "#112233"}, "name"),
        (f"/users/{fixtures.ada.user.pk}", {"handle": "ada2"}, "full_name"),
    ):
        r = client.patch(path, body)
        assert (r.status_code, r.json()[name].strip()) == (200, "two\nlines"), path


def test_tag_of_two_lines_can_be_searched_for_and_removed(fixtures, as_, stored):
    client = as_(fixtures.boss)
    with inside(fixtures.acme):
        fixtures.task.tags.through.objects.create(
            task=fixtures.task, tag=stored["tag"], tenant_id=fixtures.acme.pk
        )
    target = {"where": {"tag": ["two\nlines"]}, "data": {"tags": ["two\nlines"]}}

    listed = client.get("/tasks", {"tag": "TWO\nlines"}).json()["data"]
    r = client.post("/tasks/bulk", {"operations": [{"op": "untag"} | target]})

    assert [task["id"] for task in listed] == [fixtures.task.pk]
    assert r.status_code == 200, r.content
    assert client.get("/tasks", {"tag": "two\nlines"}).json()["data"] == []


@pytest.fixture
def staff_client(fixtures):
    """A client that is signed in to the admin as an administrator."""
    user = fixtures.boss.user
    user.set_password(PASSWORD)
    with inside(fixtures.acme):
        User.objects.filter(pk=user.pk).update(password=user.password)
    return sign_in(user.email)


def test_form_leaves_a_stored_text_of_two_lines_alone(fixtures, stored, staff_client):
    """A browser sends a field of one line without its line breaks."""
    page = address(Task, "change", fixtures.task.pk)
    form = form_of(staff_client.get(page))
    assert form["title"] == " two\nlines"

    r = staff_client.post(page, form | {"title": " twolines", "priority": "high"})

    assert r.status_code == 302, r.content
    with inside(fixtures.acme):
        assert Task.objects.get(pk=fixtures.task.pk).title == " two\nlines"
        assert Event.objects.latest("id").changes == {"priority": ["medium", "high"]}


# ---- texts of several lines ---------------------------------------------------------------------

CODE = "    code\nplain\n\n\tmore"


@pytest.mark.slow
def test_description_keeps_its_indentation_in_every_channel(fixtures, as_, staff_client):
    api, apollo = as_(fixtures.boss), fixtures.apollo.pk
    new = {"project_id": apollo, "title": "x", "description": f"{CODE} \n\n"}
    operation = {"op": "update", "id": fixtures.task.pk, "data": {"description": CODE}}
    csv = f'title,description\nx,"{CODE}"\n'

    created = api.post("/tasks", new).json()
    bulk = api.post("/tasks/bulk", {"operations": [operation]}).json()
    api.post("/projects/APO/tasks.csv", csv, content_type="text/csv")
    project = api.patch(f"/projects/{apollo}", {"description": CODE}).json()
    page = address(Task, "change", created["id"])
    edited = {"description": CODE.replace("\n", "\r\n") + "!"}
    r = staff_client.post(page, form_of(staff_client.get(page)) | edited)
    assert r.status_code == 302, r.content

    assert created["description"] == project["description"] == CODE
    assert bulk["results"][0]["task"]["description"] == CODE
    with inside(fixtures.acme):
        stored = set(Task.objects.values_list("description", flat=True))
    assert stored == {CODE, f"{CODE}!"}


def test_description_of_white_space_is_empty(fixtures, as_):
    new = {"project_id": fixtures.apollo.pk, "title": "x", "description": " \n\t "}

    assert as_(fixtures.boss).post("/tasks", new).json()["description"] == ""


# ---- references ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ref", [" x ", "x", "\u00a0x\u2003"])
def test_white_space_around_a_reference_is_left_out_everywhere(fixtures, as_, ref):
    client = as_(fixtures.boss)
    path = "/projects/APO/tasks/by-ref/"
    new = {"project_id": fixtures.apollo.pk, "title": "one", "external_ref": ref}

    created = client.post("/tasks", new)
    changed = client.put(f"{path}{quote(ref)}", {"title": "two"})
    listed = client.get("/tasks", {"external_ref": ref}).json()["data"]

    assert (created.status_code, created.json()["external_ref"]) == (201, "x")
    assert (changed.status_code, changed.json()["id"]) == (200, created.json()["id"])
    assert [task["title"] for task in listed] == ["two"]


def test_reference_of_white_space_in_a_path_is_refused(fixtures, as_):
    r = as_(fixtures.boss).put("/projects/APO/tasks/by-ref/%20", {"title": "x"})

    assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, "ref")
