"""Searching: one small corpus, the same results on both databases."""

from __future__ import annotations

import random

import pytest

from taskflow.tenancy import inside
from tasks.actions.comments import create_comment, update_comment
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project, delete_project
from tasks.changes.tasks import create_task, delete_task, update_task
from tasks.queries.search import read_query, snippet

CORPUS = {
    "form": ("Build the sign-up form", "Three fields, one button. See RFC 7807."),
    "design": ("Design the form", "Sign up with e-mail. Don't ask for a name."),
    "copy": ("Write the copy", "Texts for the forms and the landing page"),
    "umlaut": ("Ärger mit Größen", "Straße, naïve façade"),
    "cyrillic": ("Проект запущен", "все задачи готовы"),
    "japanese": ("東京タワーの写真", "明日までに"),
    "thai": ("ภาษาไทย", "ค้นหาคำในประโยค"),
    "arabic": ("مشروع جديد", "الصفحة الأولى"),
    "hindi": ("हिन्दी पाठ", "दूसरा शब्द"),
    "rocket": ("Launch 🚀 day", "foo_bar baz/qux x=1;y=2"),
}


@pytest.fixture
def corpus(fixtures):
    with inside(fixtures.acme):
        for name, (title, description) in CORPUS.items():
            create_task(
                fixtures.ada,
                fixtures.apollo,
                title=title,
                description=description,
                external_ref=name,
            )


def search_titles(client, q, path="/tasks"):
    r = client.get(path, {"q": q, "limit": 100})
    assert r.status_code == 200, r.json()
    return sorted(t["external_ref"] for t in r.json()["data"] if t["external_ref"])


@pytest.mark.parametrize(
    ("q", "names"),
    [
        ("form", "copy design form"),
        ("FORM", "copy design form"),
        ("form the", "design form"),
        ("build form", "form"),
        ('"the form"', "design"),
        ('"sign up"', "design form"),
        ("sign up", "design form"),
        ("sign-up", "form"),
        ("sign-u", "form"),
        ("-up", "form"),
        ("up-sign", ""),
        ("-form landing", ""),
        ("lan", "copy"),
        ('"lan"', ""),
        ("lan page", ""),
        ("don't", "design"),
        ("e-mail", "design"),
        ("7807", "form"),
        ("RFC 78", "form"),
        ("ärger", "umlaut"),
        ("ÄRGER größen", "umlaut"),
        ("straße", "umlaut"),
        ("façade", "umlaut"),
        ("naïve", "umlaut"),
        ("ПРОЕКТ", "cyrillic"),
        ("задачи готовы", "cyrillic"),
        ("東京", "japanese"),
        ("写真", "japanese"),
        ("明日", "japanese"),
        ("ไทย", "thai"),
        ("คำ", "thai"),
        ("مشروع", "arabic"),
        ("الصفحة", "arabic"),
        ("हिन्दी", "hindi"),
        ("शब्द", "hindi"),
        ("🚀", "rocket"),
        ("launch 🚀", "rocket"),
        ("foo bar", "rocket"),
        ("foo_bar", "rocket"),
        ("qux", "rocket"),
        ("baz/qux", "rocket"),
        ("x=1", "rocket"),
        ("-form -launch -the", ""),
        ("78.", ""),
        ("7807.", "form"),
        (";", "rocket"),
        ("=1;", "rocket"),
        ("x=1;y=2", "rocket"),
        ("qux/baz", ""),
        ("foo -", ""),
        ('"foo_bar baz/qux"', "rocket"),
        ('"foo bar baz"', "rocket"),
        ('"bar baz/qux x"', "rocket"),
        ('"foo-bar baz"', ""),
        ('"foo', ""),
        ("nothing", ""),
        ("form | design", ""),
        ("form:* & !design", ""),
        ("form OR launch", ""),
        ("title:form", ""),
    ],
)
def test_each_query_finds_its_rows(fixtures, as_, corpus, q, names):
    assert search_titles(as_(fixtures.bob), q) == names.split()


@pytest.mark.parametrize("q", ["", " ", "\u3000", "a " * 21, "x" * 501])
def test_blank_or_too_long_query_is_refused(fixtures, as_, q):
    for path in ("/search", "/tasks"):
        for name in ("q", "q_not"):
            r = as_(fixtures.bob).get(path, {"q": "a"} | {name: q})
            assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, name)


@pytest.mark.slow
def test_search_for_any_text_causes_no_server_error(fixtures, as_, corpus):
    chance = random.Random(1)
    client = as_(fixtures.bob)
    alphabet = "aAzß中ไ🚀ह \"'\\-&|!():*<>^{}[]%_.,;$@#~`+=/?\n\té\u200d\u0301"
    for _ in range(80):
        q = "".join(chance.choice(alphabet) for _ in range(chance.randrange(1, 30)))
        for path in ("/search", "/tasks"):
            assert client.get(path, {"q": q}).status_code in (200, 422), q
    for q in ("x" * 500, "- " * 250, '"' * 499, "a" * 250 + "-" + "b" * 249):
        assert client.get("/search", {"q": q}).status_code in (200, 422)


# ---- everything at once -------------------------------------------------------------------------


def results(client, q, **more):
    r = client.get("/search", {"q": q} | more)
    assert r.status_code == 200, r.json()
    return [(x["kind"], x["title"]) for x in r.json()["data"]]


@pytest.fixture
def everything(fixtures):
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="Other", description="about fuel")
        create_task(fixtures.ada, fixtures.apollo, title="Fuel pump")
        create_comment(fixtures.bob, fixtures.task, body="No fuel left")
        create_page(fixtures.bob, fixtures.apollo, title="Fuel plan", body="Kerosene")
        hidden = create_project(fixtures.ada, name="Hidden", key="HID")
        create_task(fixtures.ada, hidden, title="Hidden fuel")


@pytest.mark.slow
def test_hits_in_titles_come_first_then_the_latest(fixtures, as_, everything):
    client = as_(fixtures.bob)

    assert results(client, "fuel") == [
        ("page", "Fuel plan"),
        ("task", "Fuel pump"),
        ("comment", "Launch"),
        ("task", "Other"),
    ]
    assert results(client, "fuel", limit=2) == [("page", "Fuel plan"), ("task", "Fuel pump")]
    assert results(client, "fuel", limit=2, skip=1)[0] == ("task", "Fuel pump")
    assert client.get("/search?q=fuel&limit=3").json()["has_more"] is True
    assert client.get("/search?q=fuel&limit=4").json()["has_more"] is False
    assert results(client, "fuel", kind="comment") == [("comment", "Launch")]
    assert results(as_(fixtures.ada), "fuel", project="HID") == [("task", "Hidden fuel")]
    assert ("task", "Hidden fuel") not in results(as_(fixtures.ada), "fuel", project_not="hid")


def test_task_with_the_searched_key_comes_first(fixtures, as_, everything):
    client = as_(fixtures.bob)
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="See APO-1 first")

    assert results(client, "apo-1") == [("task", "Launch"), ("task", "See APO-1 first")]
    assert results(client, "HID-1") == []
    listed = [t["title"] for t in client.get("/tasks?q=apo-1&sort=number").json()["data"]]
    assert listed == ["Launch", "See APO-1 first"]
    assert client.get("/tasks?q=HID-1").json()["data"] == []


def test_result_contains_project_key_and_title(fixtures, as_, everything):
    (result,) = as_(fixtures.bob).get("/search?q=left&kind=comment").json()["data"]

    assert result.pop("updated_at")
    assert result == {
        "kind": "comment",
        "id": result["id"],
        "key": "APO-1",
        "project_id": fixtures.apollo.pk,
        "title": "Launch",
        "in_title": False,
        "snippet": [{"text": "No fuel ", "match": False}, {"text": "left", "match": True}],
    }


def test_invisible_rows_are_not_found(fixtures, as_, everything):
    assert results(as_(fixtures.eve), "fuel") == results(as_(fixtures.mallory), "fuel") == []
    assert len(results(as_(fixtures.boss), "fuel")) == 5
    kinds = [kind for kind, _ in results(as_(fixtures.bot), "fuel")]
    assert "page" not in kinds, "a draft of Bob's"
    assert results(as_(fixtures.mallory), "launch") == results(as_(fixtures.mallory), "APO-1") == []


@pytest.mark.slow
def test_changed_rows_are_found_by_their_new_text(fixtures, as_, everything):
    client = as_(fixtures.bob)
    with inside(fixtures.acme):
        comment = create_comment(fixtures.bob, fixtures.task, body="unicorn")
        assert results(client, "unicorn") == [("comment", "Launch")]
        update_comment(fixtures.bob, comment, body="zebra")
        update_task(fixtures.ada, fixtures.task, description="unicorn")
    assert results(client, "unicorn") == [("task", "Launch")]
    assert results(client, "zebra") == [("comment", "Launch")]
    with inside(fixtures.acme):
        delete_task(fixtures.ada, fixtures.task)
    assert results(client, "unicorn") == results(client, "zebra") == []
    client.post(f"/trash/task/{fixtures.task.pk}/restoration")
    assert results(client, "unicorn") == [("task", "Launch")]
    with inside(fixtures.acme):
        delete_project(fixtures.ada, fixtures.apollo)
    assert results(client, "unicorn") == []


def test_lists_of_pages_and_comments_can_be_searched(fixtures, as_, everything):
    client = as_(fixtures.bob)

    assert len(client.get("/pages?q=kerosene").json()["data"]) == 1
    assert len(client.get("/comments?q_not=fuel").json()["data"]) == 0
    assert len(client.get("/comments?q=fuel&author=me").json()["data"]) == 1


def test_snippet_consists_of_pieces_of_plain_text():
    text = "a" * 300 + " <b>Fuel</b> and fuels " + "z" * 300

    pieces = snippet([text], read_query("fuel"))

    assert [p["text"] for p in pieces if p["match"]] == ["Fuel", "fuels"]
    assert pieces[0]["text"] == pieces[-1]["text"] == "…"
    assert "".join(p["text"] for p in pieces).strip("…") in text
    assert snippet(["nothing here"], read_query("-fuel")) == [
        {"text": "nothing here", "match": False}
    ]
