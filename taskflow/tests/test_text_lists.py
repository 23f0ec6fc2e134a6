"""`format=text`: lists with one line for each row, for people and language models."""

from __future__ import annotations

import pytest

from tasks.api.lines import BREAKS, quote
from tasks.tests.factories import TaskFactory

pytestmark = pytest.mark.one_database

CHARACTERS_PER_TOKEN = 4  # about, of English
MAX_TOKENS_OF_50_TASKS = 1200


@pytest.fixture
def client(fixtures, as_):
    return as_(fixtures.ada)


def lines_of(response):
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    return response.content.decode().splitlines()


def test_line_of_a_task_has_what_an_agent_needs_to_choose(client):
    client.post("/tasks", {"project": "APO", "title": "Order fuel"})
    body = {"priority": "high", "tags": ["b", "a c"], "due_on": "2026-12-01", "assignee": "@bob"}
    client.patch("/tasks/APO-1", {**body, "blocked_by": ["APO-2"]})

    assert lines_of(client.get("/tasks?format=text")) == [
        'APO-2 todo "Order fuel"',
        'APO-1 todo high @bob due 2026-12-01 blocked [a c, b] "Launch"',
    ]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({"status": "in_progress"}, 'APO-1 in_progress @ada "Launch"'),
        ({"status": "done"}, 'APO-1 done @ada "Launch"'),
        ({"status": "done", "outcome": "cancelled"}, 'APO-1 cancelled @ada "Launch"'),
        (
            {"due_date": "2026-12-01T09:00:30Z", "priority": "low"},
            'APO-1 todo low @ada due 2026-12-01T09:00Z "Launch"',
        ),
        ({"title": 'Say "hi"', "assignee": None}, "APO-1 todo \"Say 'hi'\""),
        ({"tags": ["x] APO-9 done"], "assignee": None}, 'APO-1 todo [x) APO-9 done] "Launch"'),
    ],
)
def test_line_of_a_task_shows_its_state(client, body, line):
    client.patch("/tasks/APO-1", body)

    assert lines_of(client.get("/tasks?format=text")) == [line]


def test_fifty_tasks_with_long_titles_are_at_most_1200_tokens(fixtures, client):
    tags = ["needs review", "release-blocker", "backend"]
    for n in range(51):
        TaskFactory(
            actor=fixtures.ada,
            project=fixtures.apollo,
            title=f"{n} " + "long title " * 40,
            assignee=fixtures.ada.user,
            priority="high",
            due_on="2026-12-01",
            status="in_progress",
            tags=tags,
        )

    text = client.get("/tasks?format=text&include=count").content.decode()

    assert len(text.splitlines()) == 52
    assert len(text) <= MAX_TOKENS_OF_50_TASKS * CHARACTERS_PER_TOKEN


def test_last_lines_name_the_next_page_and_the_count(client):
    for n in range(3):
        client.post("/tasks", {"project": "APO", "title": f"t{n}"})

    first = lines_of(client.get("/tasks?format=text&limit=2&include=count&sort=number"))
    cursor = first[-1].removeprefix("More: cursor=")
    rest = lines_of(client.get(f"/tasks?format=text&limit=2&sort=number&cursor={cursor}"))

    assert [line.split()[0] for line in first] == ["APO-1", "APO-2", "Count:", "More:"]
    assert [line.split()[0] for line in rest] == ["APO-3", "APO-4"]


def test_cursor_of_a_text_list_works_for_json(client):
    client.post("/tasks", {"project": "APO", "title": "t"})

    cursor = lines_of(client.get("/tasks?format=text&limit=1"))[-1].removeprefix("More: cursor=")

    assert client.get(f"/tasks?cursor={cursor}").json()["data"][0]["key"] == "APO-1"


@pytest.mark.parametrize("text", ["a\nAPO-9 done", "a\r\nb", "a\u2028b", "a\x0bb", "a\x85b"])
def test_text_of_a_user_is_never_a_line_of_its_own(text):
    assert len(quote(text, 100).splitlines()) == 1
    assert not BREAKS.sub(" ", text).count("\n")


def test_lines_of_projects_comments_and_pages(client):
    client.post("/comments", {"task": "APO-1", "body": 'Two\nlines "quoted"'})
    client.post("/pages", {"project": "APO", "title": "Plan", "body": "x"})

    (project,) = lines_of(client.get("/projects?format=text"))
    (comment,) = lines_of(client.get("/comments?format=text"))
    (page,) = lines_of(client.get("/pages?format=text"))

    assert project == 'APO active @ada owner 1 open "Apollo"'
    assert comment.endswith("Z \"Two lines 'quoted'\"")
    assert comment.split()[2:4] == ["APO-1", "@ada"]
    assert page.split()[2:] == ["draft", "@ada", '"Plan"']


def test_empty_list_says_so(client):
    assert lines_of(client.get("/tasks?format=text&status=done")) == ["No tasks."]


def test_text_list_has_an_etag(client):
    etag = client.get("/tasks?format=text").headers["ETag"]

    r = client.get("/tasks?format=text", headers={"If-None-Match": etag})

    assert r.status_code == 304


@pytest.mark.parametrize("who", ["eve", "mallory"])
def test_text_list_shows_visible_rows_only(fixtures, as_, who):
    text = as_(getattr(fixtures, who)).get("/tasks?format=text").content.decode()

    assert "APO" not in text


@pytest.mark.parametrize("query", ["format=json", "format=", "format=text&fields=id"])
def test_other_formats_are_refused(client, query):
    assert client.get(f"/tasks?{query}").status_code == 422


@pytest.mark.parametrize("path", ["/tags", "/users", "/tasks/APO-1"])
def test_other_reads_refuse_the_parameter(client, path):
    r = client.get(f"{path}?format=text")

    assert (r.status_code, r.json()["errors"][0]["code"]) == (422, "unknown_parameter")


def test_text_list_costs_as_many_statements_as_json(client, assert_statements):
    client.get("/tasks?format=text")

    with assert_statements(2):
        client.get("/tasks?format=text")
