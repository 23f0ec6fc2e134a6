"""Imports of the files of other systems, with the example files of docs/import.md."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from conftest import ApiClient, new_tenant, token_of
from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.csv.foreign import PROFILES
from tasks.models import Comment, Task
from tasks.tests.factories import UserFactory

pytestmark = pytest.mark.one_database

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "import.md").read_text()
FILES = ROOT / "docs" / "import"
COMMANDS = re.findall(r"```sh\n(.*?)```", DOCS, re.S)


@pytest.fixture
def boss(db):
    boss = new_tenant("acme", "boss")
    for handle, name in (("ada", "Ada Lindqvist"), ("bob", "Bob Okafor")):
        UserFactory(actor=boss, handle=handle, full_name=name, is_staff=True)
    with inside(boss.tenant):
        create_project(boss, name="Web", key="WEB")
    return boss


@pytest.fixture
def client(boss):
    return ApiClient(token_of(boss))


def load(client, profile, body, **options):
    query = urlencode(
        {n: json.dumps(v) if isinstance(v, dict) else v for n, v in options.items()}, doseq=True
    )
    path = f"/projects/WEB/imports?profile={profile}&{query}"
    kind = "application/json" if profile in ("trello", "github") else "text/csv"
    return client.generic("POST", path, body, content_type=kind)


def by_title(client):
    return {task["title"]: task for task in client.get("/tasks?sort=number").json()["data"]}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_of_the_docs_import_their_files(client, command):
    words = shlex.split(command.replace("\\\n", " "))
    url = urlsplit(words[words.index("-s") + 1])
    body = (ROOT / words[words.index("--data-binary") + 1].removeprefix("@")).read_bytes()

    r = client.generic("POST", f"{url.path}?{url.query}", body, content_type="text/csv")

    assert (r.status_code, r.json()["left_out"]) == (200, []), r.content
    assert (
        r.json()["created"]
        == {"jira": 4, "todoist": 4, "asana": 3}[re.search("profile=([a-z]+)", url.query)[1]]
    )
    assert len(r.json()["sample"]) == min(5, r.json()["created"])


def test_docs_contain_three_commands():
    assert len(COMMANDS) == 3


def test_jira_export_of_60_columns(boss, client):
    body = (FILES / "jira.csv").read_bytes()
    assert body.count(b",", 0, body.index(b"\n")) == 59

    r = load(client, "jira", body, dry_run="true")

    result = r.json()
    assert (result["created"], result["comments"]) == (4, 3)
    assert "Custom field (Story Points)" in result["unmapped_columns"]
    assert "Summary" not in result["unmapped_columns"]
    assert result["sample"][1]["title"] == "Sign-up page"
    assert load(client, "jira", body).status_code == 200
    tasks = by_title(client)
    page, tests = tasks["Sign-up page"], tasks["Subtask: write the tests"]
    assert (page["external_ref"], page["priority"], page["status"]) == (
        "WEB-1",
        "high",
        "in_progress",
    )
    assert [tag["name"] for tag in page["tags"]] == ["frontend", "q4", "sign-up"]
    assert (page["due_on"], page["created_at"]) == ("2026-11-30", "2026-11-02T08:00:00Z")
    assert page["assignee"]["handle"] == page["created_by"]["handle"] == "ada"
    assert (tests["parent_id"], page["blocked_by"]) == (
        page["id"],
        [tasks["Choose a mail provider"]["id"]],
    )
    assert page["metadata"]["jira"]["Custom field (Sprint)"] == ["Sprint 6", "Sprint 7"]
    assert tasks["Choose a mail provider"]["completed_at"] == "2026-11-06T17:00:00Z"
    with inside(boss.tenant):
        first, second = Comment.objects.filter(task=page["id"]).order_by("created_at")
    assert (first.body, second.body) == ("First draft of the page.", "Looks good.")
    assert first.created_at.isoformat() == "2026-11-02T08:30:00+00:00"


def test_second_import_of_a_changed_export_changes_its_tasks(client):
    body = (FILES / "jira.csv").read_text()
    assert load(client, "jira", body).status_code == 200
    assert load(client, "jira", body).json()["errors"][0]["code"] == "exists"

    changed = body.replace("Sign-up page,WEB-1", "Registration page,WEB-1")
    r = load(client, "jira", changed, on_existing="update")

    assert (r.status_code, r.json()["updated"], r.json()["unchanged"]) == (200, 1, 3), r.content
    assert (r.json()["comments"], r.json()["left_out"]) == (0, [])


def test_todoist_template(boss, client):
    r = load(client, "todoist", (FILES / "todoist.csv").read_bytes())

    assert r.status_code == 200, r.content
    tasks = by_title(client)
    van = tasks["Find a van"]
    assert (van["priority"], van["due_on"], van["assignee"]["handle"]) == (
        "high",
        "2026-12-01",
        "bob",
    )
    assert [tag["name"] for tag in van["tags"]] == ["errand"]
    assert tasks["Compare prices"]["parent_id"] == tasks["Book it"]["parent_id"] == van["id"]
    assert tasks["Book it"]["due_date"] == "2026-12-03T09:00:00Z"
    assert tasks["Return the keys"]["parent_id"] is None
    assert tasks["Return the keys"]["metadata"]["todoist"]["section"] == "After the move"
    with inside(boss.tenant):
        assert Comment.objects.get().body == "The shop at the corner has two."


def test_asana_export(client):
    r = load(client, "asana", (FILES / "asana.csv").read_bytes())

    assert r.status_code == 200, r.content
    tasks = by_title(client)
    stand, posters = tasks["Reserve a stand"], tasks["Print the posters"]
    assert (stand["status"], stand["completed_at"]) == ("done", "2026-11-09T00:00:00Z")
    assert stand["parent_id"] == tasks["Plan the fair"]["id"]
    assert posters["blocked_by"] == [stand["id"]]
    assert [tag["name"] for tag in tasks["Plan the fair"]["tags"]] == ["fair", "q4"]
    assert tasks["Plan the fair"]["metadata"]["asana"]["Section/Column"] == "Planning"


def test_trello_board(boss, client):
    r = load(client, "trello", (FILES / "trello.json").read_bytes())

    assert r.status_code == 200, r.content
    tasks = by_title(client)
    fence = tasks["Paint the fence"]
    assert (fence["status"], fence["due_date"]) == ("in_progress", "2026-12-01T16:00:00Z")
    assert (fence["assignee"]["handle"], [t["name"] for t in fence["tags"]]) == (
        "ada",
        ["garden", "red"],
    )
    assert (tasks["Sand it"]["status"], tasks["Sand it"]["parent_id"]) == ("done", fence["id"])
    assert tasks["Buy seeds"]["metadata"]["trello"]["archived"] == "true"
    with inside(boss.tenant):
        comment = Comment.objects.select_related("author").get()
    assert (comment.body, comment.author.handle) == ("I have a brush.", "bob")


def test_github_issues(boss, client):
    r = load(client, "github", (FILES / "github.json").read_bytes())

    assert (r.status_code, r.json()["created"], r.json()["comments"]) == (200, 2, 1), r.content
    tasks = by_title(client)
    crash = tasks["Crash on start"]
    assert (crash["external_ref"], crash["assignee"]["handle"]) == ("acme/web#12", "bob")
    assert [tag["name"] for tag in crash["tags"]] == ["bug", "good first issue"]
    assert tasks["Document the options"]["completed_at"] == "2026-11-05T09:00:00Z"


@pytest.mark.parametrize(
    ("status", "resolution", "outcome"),
    [
        ("Done", "Won't Do", "cancelled"),
        ("Closed", "won’t fix", "cancelled"),
        ("Done", "Duplicate", "cancelled"),
        ("Done", "Done", "completed"),
        ("Done", "Delivered to the customer", "completed"),
        ("Done", "", "completed"),
        ("In Progress", "Won't Do", None),  # reopened
    ],
)
def test_resolution_of_jira_gives_the_outcome_of_a_done_task(client, status, resolution, outcome):
    body = f"Summary,Issue key,Status,Resolution\nPaint,X-1,{status},{resolution}\n"

    r = load(client, "jira", body)

    assert r.status_code == 200, r.content
    task = by_title(client)["Paint"]
    assert task["outcome"] == outcome
    assert task["metadata"] == ({"jira": {"Resolution": resolution}} if resolution else {})
    again = load(client, "jira", body, on_existing="update")
    assert (again.json()["updated"], again.json()["unchanged"]) == (0, 1), again.content


def test_resolution_that_was_corrected_changes_the_outcome(client):
    body = "Summary,Issue key,Status,Resolution\nPaint,X-1,Done,{}\n"
    load(client, "jira", body.format("Done"))

    r = load(client, "jira", body.format("Duplicate"), on_existing="update")

    assert (r.status_code, r.json()["updated"]) == (200, 1), r.content
    assert by_title(client)["Paint"]["outcome"] == "cancelled"


def test_resolution_is_translated_by_the_values_of_the_request(client):
    body = "Summary,Status,Resolution\nPaint,Done,Entfallen\nSand,Done,Erledigt\n"
    words = {"resolution": {"Entfallen": "cancelled"}}

    assert load(client, "jira", body, values=words).status_code == 200

    outcomes = {title: task["outcome"] for title, task in by_title(client).items()}
    assert outcomes == {"Paint": "cancelled", "Sand": "completed"}


def test_resolution_that_means_no_outcome_is_refused_with_its_column(client):
    body = "Summary,Status,Resolution\nPaint,Done,Entfallen\n"

    r = load(client, "jira", body, values={"resolution": {"Entfallen": "dropped"}})

    assert r.status_code == 422
    assert [error["column"] for error in r.json()["errors"]] == ["Resolution"]


@pytest.mark.parametrize("name", ["state_reason", "stateReason"])
@pytest.mark.parametrize(
    ("reason", "outcome"),
    [("not_planned", "cancelled"), ("NOT_PLANNED", "cancelled"), ("duplicate", "cancelled"),
     ("completed", "completed"), (None, "completed")],
)  # fmt: skip
def test_reason_of_a_closed_github_issue_gives_the_outcome(client, name, reason, outcome):
    issue = {"number": 3, "title": "Paint", "state": "closed", name: reason}

    r = load(client, "github", json.dumps([issue]))

    assert r.status_code == 200, r.content
    assert by_title(client)["Paint"]["outcome"] == outcome


def test_member_imports_without_authors_and_times(boss, client):
    with inside(boss.tenant):
        member = UserFactory(actor=boss, handle="member")
    client.post("/projects/WEB/members", {"user_id": member.pk})
    bob = ApiClient(token_of(type(boss)(member, boss.tenant)))
    body = (FILES / "jira.csv").read_text()

    r = load(bob, "jira", body)

    assert {e["column"] for e in r.json()["errors"]} >= {"Created", "Reporter"}
    ignored = ["Created", "Reporter", "Resolved", "Comment", "Assignee"]
    assert load(bob, "jira", body, ignore=ignored).status_code == 200


def test_unknown_people_and_links_are_refused_or_left_out(boss, client):
    text = (
        "Summary,Issue key,Reporter,Inward issue link (Blocks),Comment\n"
        'x,X-1,Nobody,OTHER-7,"01/Dec/26 9:30 AM;Nobody;hello; world"\n'
    )

    r = load(client, "jira", text)
    assert [e["column"] for e in r.json()["errors"]] == [
        "Reporter",
        "Comment",
        "Inward issue link (Blocks)",
    ]

    r = load(client, "jira", text, unknown="leave_out")
    assert (r.status_code, r.json()["left_out_count"]) == (200, 3), r.content
    with inside(boss.tenant):
        assert Comment.objects.get().body == "**Nobody**:\n\nhello; world"


@pytest.mark.parametrize(
    ("profile", "body"),
    [
        ("trello", "[]"),
        ("trello", "{}"),
        ("trello", "{"),
        ("trello", '{"cards": 5}'),
        ("github", "{}"),
        ("github", "\xff"),
        ("github", '[{"number": 1}]'),
        ("jira", "{}"),
        ("asana", "Name\n\n"),
        ("todoist", "TYPE,CONTENT\nnote,x\n"),
        ("trello", '{"cards": [5, {"id": 7, "idMembers": {}, "labels": [1]}], "actions": {}}'),
    ],
)
def test_file_that_is_no_export_is_refused_or_creates_nothing(boss, client, profile, body):
    r = load(client, profile, body)

    assert r.status_code == 422 or r.json()["created"] == 0, r.content
    with inside(boss.tenant):
        assert not Task.objects.exists()


@pytest.mark.parametrize("profile", PROFILES)
def test_file_of_another_content_type_is_refused(client, profile):
    path = f"/projects/WEB/imports?profile={profile}"

    assert client.generic("POST", path, "x", content_type="text/plain").status_code == 415
