"""What is equal without case, and the order of texts: the same on both databases."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import ApiClient, build_fixtures
from taskflow.audit.models import Event
from taskflow.audit.recorder import create_all
from taskflow.db.text import MAX_KEY_BYTES, fold, fold_key
from taskflow.tenancy import inside
from tasks.actions import tags as tag_actions
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag, find_or_create_tags
from tasks.changes.tasks import create_task, update_task
from tasks.models import Project, Tag, Task
from tasks.tests.invariants import wrong_columns

EQUAL = [
    ("Straße", "STRASSE"),
    ("ﬁx", "fix"),
    ("İstanbul", "i̇stanbul"),
    ("ΣΊΣΥΦΟΣ", "σίσυφος"),
    ("ＢＵＧ", "bug"),
    ("é", "e\u0301"),
    ("ｶﾞ", "ガ"),
    ("①", "1"),
    ("ΰ", "Ϋ\u0301"),
]
DIFFERENT = [("é", "e"), ("ı", "i"), ("か", "が"), ("a b", "ab"), ("ø", "o"), ("й", "и")]
# In the order of the folded texts' code points.
ORDER = ["", "10", "9", "＿a", "a", "ab", "Abc", "ABD", "z", "ä", "É", "strasse", "Straße", "Ω", "日", "🚀"]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_texts_that_differ_in_form_alone_fold_alike(one, other):
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_texts_that_differ_in_letters_or_accents_stay_different(one, other):
    assert fold(one) != fold(other)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None, derandomize=True, database=None)
@given(st.text(max_size=40))
def test_folding_a_folded_text_changes_nothing(text):
    assert fold(fold(text)) == fold(text)
    assert fold_key(fold_key(text)) == fold_key(text)
    assert fold(text).startswith(fold_key(text))


def test_key_is_cut_between_characters():
    key = fold_key("\ufdfa" * 500)

    assert MAX_KEY_BYTES - 4 < len(key.encode()) <= MAX_KEY_BYTES
    assert fold("\ufdfa" * 500).startswith(key)


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_tag_name_is_taken_in_every_form(fixtures, as_, one, other):
    client = as_(fixtures.boss)
    assert client.post("/tags", {"name": one}).status_code == 201

    taken = client.post("/tags", {"name": other})
    new = {"project_id": fixtures.apollo.pk, "title": "x", "tags": [other]}
    task = client.post("/tasks", new).json()

    assert (taken.status_code, taken.json()["code"]) == (409, "taken")
    assert [tag["name"] for tag in task["tags"]] == [one]
    found = client.get("/tasks", {"tag": other}).json()["data"]
    assert [row["id"] for row in found] == [task["id"]]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_tags_with_other_letters_are_other_tags(fixtures, one, other):
    with inside(fixtures.acme):
        tags = find_or_create_tags(fixtures.ada, [one, other])

    assert tags[one].pk != tags[other].pk


def test_email_is_taken_and_signs_in_in_every_form(fixtures, as_):
    boss = as_(fixtures.boss)
    new = {"handle": "new", "email": "Jo@Bücher.example", "password": "long enough secret"}
    created = boss.post("/users", new)
    assert created.status_code == 201, created.content

    taken = boss.post("/users", new | {"handle": "other", "email": "jo@BU\u0308CHER.example"})
    typed = {"email": "ｊｏ@BÜCHER.example", "password": new["password"], "tenant": "acme"}
    sign_in = ApiClient().post("/auth/login", typed)

    assert (taken.status_code, taken.json()["code"]) == (409, "taken")
    assert sign_in.status_code in (200, 201), sign_in.content
    found = boss.get("/users", {"email": "JO@bücher.example"}).json()["data"]
    assert [user["handle"] for user in found] == ["new"]


def test_emails_of_two_domains_that_fold_alike_are_two(fixtures, as_):
    boss = as_(fixtures.boss)
    secrets = {}
    for handle, domain in (("one", "strasse"), ("two", "straße")):
        secrets[domain] = f"long enough {handle}"
        sent = {"handle": handle, "email": f"jo@{domain}.example", "password": secrets[domain]}
        assert boss.post("/users", sent).status_code == 201

    for domain, password in secrets.items():
        typed = {"email": f"jo@{domain}.example", "password": password, "tenant": "acme"}
        assert ApiClient().post("/auth/login", typed).status_code in (200, 201)


def test_titles_and_names_sort_by_their_folded_form(fixtures, as_):
    texts = [text for text in ORDER if text]
    with inside(fixtures.acme):
        project = create_project(fixtures.boss, name="0", key="SORT")
        for text in reversed(texts):
            create_task(fixtures.boss, project, title=text)
            create_tag(fixtures.boss, name=text) if text != "Straße" else None
    client = as_(fixtures.boss)

    titles = [t["title"] for t in client.get("/tasks?project=SORT&sort=title").json()["data"]]
    names = [t["name"] for t in client.get("/tags").json()["data"]]

    expected = sorted(texts, key=lambda text: (fold(text), -texts.index(text)))
    assert titles == expected
    assert names == [text for text in expected if text != "Straße"]
    down = [t["title"] for t in client.get("/tasks?project=SORT&sort=-title").json()["data"]]
    assert down == titles[::-1]


def test_pages_of_a_sorted_list_return_every_title_once(fixtures, as_):
    titles = ["b", "B", "ａ", "Ä", "ä", "a", "ß", "ss", "SS"]
    with inside(fixtures.acme):
        project = create_project(fixtures.boss, name="0", key="SORT")
        for title in titles:
            create_task(fixtures.boss, project, title=title)
    client, found, page = as_(fixtures.boss), [], {"has_more": True}
    while page["has_more"]:
        position = {"cursor": page["next_cursor"]} if found else {}
        query = {"project": "SORT", "sort": "title", "limit": 2}
        page = client.get("/tasks", query | position).json()
        found += [task["title"] for task in page["data"]]

    assert [fold(title) for title in found] == sorted(map(fold, titles))
    assert sorted(found) == sorted(titles)


def test_folded_column_follows_every_change_of_its_text(fixtures):
    with inside(fixtures.acme):
        task = update_task(fixtures.ada, fixtures.task, title="Größe")
        assert Task.objects.get(pk=task.pk).title_folded == "grösse"
        assert Event.objects.latest("id").changes == {"title": ["Launch", "Größe"]}


@pytest.mark.slow
def test_every_writer_fills_the_computed_columns(fixtures, as_):
    """Rows that are created and changed through each channel have the columns of their texts."""
    boss = as_(fixtures.boss)
    project = boss.post("/projects", {"name": "É", "key": "ONE", "tasks": [{"title": "Ä"}]}).json()
    pk = project["id"]
    task = boss.post("/tasks", {"project_id": pk, "title": "ß", "tags": ["Ö"]}).json()
    page = boss.post("/pages", {"project_id": pk, "title": "Ü", "body": "ẞ"}).json()
    comment = boss.post("/comments", {"task_id": task["id"], "body": "Ñ"}).json()
    boss.put(f"/projects/{pk}/tasks/by-ref/a", {"title": "Ｘ"})
    create, update = {"project_id": pk, "title": "ﬁ"}, {"title": "ΑΣ", "description": "Σ"}
    everywhere = {"op": "update", "where": {"project": ["ONE"]}, "data": {"description": "ＡＢ"}}
    bulk = boss.post(
        "/tasks/bulk",
        {
            "operations": [
                {"op": "create", "data": create},
                {"op": "update", "id": task["id"], "data": update},
                everywhere,
            ]
        },
    )
    changes = [
        boss.patch(f"/projects/{pk}", {"name": "Ｎ"}),
        boss.patch(f"/pages/{page['id']}", {"title": "Ｔ", "body": "ﬂ"}),
        boss.patch(f"/comments/{comment['id']}", {"body": "Ø"}),
        boss.patch(f"/tags/{task['tags'][0]['id']}", {"name": "Ｚ"}),
        boss.post("/undo", {"request_id": bulk.headers["X-Request-Id"]}),
        boss.post(f"/projects/{pk}/tasks.csv", "title\nＣＳＶ\n", content_type="text/csv"),
    ]

    assert [r.status_code for r in [bulk, *changes] if r.status_code >= 300] == []
    with inside(fixtures.acme):
        assert list(wrong_columns()) == []


def test_recount_repairs_columns_of_another_version(fixtures, capsys):
    with inside(fixtures.acme):
        Task.objects.filter(pk=fixtures.task.pk).update(title_folded="?")
        assert len(list(wrong_columns())) == 1
    with pytest.raises(CommandError, match="1 values are wrong"):
        call_command("recount")

    call_command("recount", repair=True)

    assert "acme: 1 tasks" in capsys.readouterr().out
    with inside(fixtures.acme):
        assert list(wrong_columns()) == []
        assert Task.objects.get(pk=fixtures.task.pk).version == fixtures.task.version


# ---- the migration ------------------------------------------------------------------------------


@pytest.fixture
def _migrated_again():
    yield
    call_command("migrate", verbosity=0)


def insert_as_before(fixtures, names):
    """Insert tags as a database could contain them before the migration."""
    fixed = {"tenant_id": fixtures.acme.pk, "version": 1}
    times = {"created_at": "2026-01-01 00:00:00+00", "updated_at": "2026-01-01 00:00:00+00"}
    with inside(fixtures.acme), connection.cursor() as cursor:
        for name in names:
            values = fixed | times | {"name": name}
            places = ", ".join(["%s"] * len(values))
            cursor.execute(
                f"INSERT INTO tasks_tag ({', '.join(values)}) VALUES ({places})",
                list(values.values()),
            )


@pytest.mark.slow
@pytest.mark.raw_sql
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_migrated_again")
def test_migration_keeps_rows_whose_names_become_equal():
    fixtures = build_fixtures()
    call_command("migrate", "tasks", "0004", verbosity=0)
    insert_as_before(fixtures, ["straße", "strasse (2)", "strasse", "ﬁx", "fix", "ｆｉｘ"])

    call_command("migrate", verbosity=0)

    with inside(fixtures.acme):
        names = list(Tag.objects.order_by("pk").values_list("name", flat=True))
        assert names == ["straße", "strasse (2)", "strasse (3)", "ﬁx", "fix (2)", "ｆｉｘ (3)"]
        renamed = Event.objects.filter(subject_type="tag").order_by("pk")
        assert [event.changes["name"] for event in renamed] == [
            ["strasse", "strasse (3)"],
            ["fix", "fix (2)"],
            ["ｆｉｘ", "ｆｉｘ (3)"],
        ]
        assert list(wrong_columns()) == []
        assert Task.objects.get(pk=fixtures.task.pk).title_folded == "launch"
        assert Project.objects.get(pk=fixtures.apollo.pk).name_folded == "apollo"


def test_tag_that_disappears_while_it_is_looked_up_is_created(fixtures, monkeypatch):
    """Another request creates the tag, and a third one deletes it before it is read."""
    attempts = []

    def fail_once(actor, rows):
        attempts.append([row.name for row in rows])
        if len(attempts) == 1:
            raise IntegrityError  # the other request has created "b"
        return create_all(actor, rows)

    monkeypatch.setattr(tag_actions, "create_all", fail_once)
    with inside(fixtures.acme):
        tags = find_or_create_tags(fixtures.ada, ["b", "a"])

        assert {name: tag.name for name, tag in tags.items()} == {"a": "a", "b": "b"}
        assert list(Tag.objects.order_by("name").values_list("name", flat=True)) == ["a", "b"]
    assert attempts == [["a", "b"], ["a", "b"]]
