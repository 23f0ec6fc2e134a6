"""Pages of a search: the rows that the simple querysets give, and no others."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from django.db import DatabaseError, connection, transaction

from taskflow.tenancy import inside
from tasks.actions.pages import publish_page
from tasks.actions.projects import delete_project
from tasks.changes.tasks import delete_task
from tasks.models import ProjectMember, Role, Task, TaskCountDelta
from tasks.models.registry import SEARCHABLE_TYPES
from tasks.queries.search import build_condition, matches, rank, read_query, read_text
from tasks.queries.search_page import find_page
from tasks.tests.factories import (
    CommentFactory,
    MemberFactory,
    PageFactory,
    ProjectFactory,
    TaskFactory,
)

TABLES = {t.name: t.model._meta.db_table for t in SEARCHABLE_TYPES}
on_postgres = pytest.mark.skipif("connection.vendor != 'postgresql'")
WORDS = ["fuel", "fuels", "pump", "old", "x-1", "🚀"]
QUERIES = ["fuel", "fu", "pump fuel", '"fuel pump"', "x-1", "🚀", "fuel 🚀", "old -", "none"]


def find_simply(actor, terms, type_names, first_task_id=None):
    """The rows of a search as (type, id): each type is ranked alone, then all of them together."""
    searched, found = read_text(terms), []
    for resource_type in SEARCHABLE_TYPES:
        if resource_type.name in type_names:
            first_id = first_task_id if resource_type.model is Task else None
            rows = resource_type.model.objects.visible_to(actor.viewer)
            condition = matches(resource_type.model, build_condition(terms))
            with_first = rows.filter(pk=first_id) | rows.filter(condition)
            for row in rank(with_first if first_id else rows.filter(condition), searched, first_id):
                found.append((resource_type.name, row))
    found.sort(key=lambda f: (f[1].is_first, f[1].in_title, f[1].updated_at, f[1].pk), reverse=True)
    return [(name, row.pk) for name, row in found]


def found_by(actor, q, **more):
    hits, _ = find_page(actor, read_query(q), list(TABLES), filters={}, limit=100, **more)
    return {(hit.type_name, hit.title) for hit in hits}


@pytest.fixture
def rows(fixtures):
    """Three projects with rows whose texts are few words, so that many match and many are equal in
    rank. Bob is a member of two, Carl of one. Some rows are in the trash or drafts."""
    chance = random.Random(1)
    with inside(fixtures.acme):
        projects = [fixtures.apollo, *(ProjectFactory(actor=fixtures.ada) for _ in range(2))]
        MemberFactory(actor=fixtures.ada, project=projects[1], user=fixtures.bob.user)
        for _ in range(24):
            title, text = (" ".join(chance.choices(WORDS, k=chance.randrange(1, 4))) for _ in "12")
            where = {"actor": fixtures.ada, "project": chance.choice(projects)}
            task = TaskFactory(**where, title=title, description=text)
            CommentFactory(actor=fixtures.ada, task=task, body=text)
            page = PageFactory(**where, title=text, body=title)
            if chance.random() < 0.5:
                publish_page(fixtures.ada, page)
            if chance.random() < 0.2:
                delete_task(fixtures.ada, task)
        # More than PostgreSQL reads before it uses the full-text index.
        TaskFactory.create_batch(65, actor=fixtures.ada, project=projects[0], title="other")
        # Rows with the same time are ordered by id.
        Task.objects.update(updated_at=fixtures.task.updated_at)
    return fixtures


def actors_of(fixtures):
    return {
        "staff": fixtures.boss,
        "owner": fixtures.ada,
        "admin": fixtures.carl,
        "member": fixtures.bob,
        "no member": fixtures.eve,
        "bound": replace(fixtures.ada, project_ids=(fixtures.apollo.pk,)),
        "bound staff": replace(fixtures.boss, project_ids=(fixtures.apollo.pk,)),
        "made by a member": replace(fixtures.ada, maker_id=fixtures.bob.user.pk),
        "made by an admin": replace(fixtures.bob, maker_id=fixtures.carl.user.pk),
    }


@pytest.mark.parametrize("q", QUERIES)
def test_page_has_the_rows_of_the_simple_querysets_in_their_order(rows, q):
    terms = read_query(q)
    with inside(rows.acme):
        for name, actor in actors_of(rows).items():
            for first in (None, rows.task.pk):
                expected = find_simply(actor, terms, TABLES, first)
                for skip, limit in ((0, 1), (0, 3), (2, 5), (0, 150)):
                    hits, more = find_page(
                        actor, terms, list(TABLES), filters={}, first_task_id=first,
                        skip=skip, limit=limit,
                    )  # fmt: skip
                    found = [(hit.type_name, hit.id) for hit in hits]
                    assert found == expected[skip : skip + limit], (name, first, skip)
                    assert more == (len(expected) > skip + limit), (name, first, skip)


def test_member_of_a_small_part_of_the_tasks_gets_the_rows_of_the_simple_querysets(rows):
    """On PostgreSQL all tasks of these projects are read then."""
    with inside(rows.acme):
        TaskCountDelta.objects.create(project_id=ProjectFactory(actor=rows.eve).pk, todo=10_000)
        for q in QUERIES:
            terms = read_query(q)
            for name, actor in actors_of(rows).items():
                hits, _ = find_page(actor, terms, ["task"], filters={}, limit=5)
                expected = find_simply(actor, terms, ["task"])[:5]
                assert [("task", hit.id) for hit in hits] == expected, (q, name)


# ---- what must not be found ---------------------------------------------------------------------


@pytest.fixture
def secrets(fixtures):
    """Create rows that Bob must not find: in a project without Bob, drafts, in the trash, and in
    another tenant. Return the project without Bob.
    """
    with inside(fixtures.acme):
        others = ProjectFactory(actor=fixtures.eve, key="OTH")
        task = TaskFactory(actor=fixtures.eve, project=others, title="qz task")
        CommentFactory(actor=fixtures.eve, task=task, body="qz comment")
        publish_page(fixtures.eve, PageFactory(actor=fixtures.eve, project=others, title="qz page"))
        PageFactory(actor=fixtures.ada, project=fixtures.apollo, title="qz draft")
        deleted = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title="qz deleted")
        CommentFactory(actor=fixtures.ada, task=deleted, body="qz of a deleted task")
        delete_task(fixtures.ada, deleted)
        gone = ProjectFactory(actor=fixtures.ada, key="GON")
        MemberFactory(actor=fixtures.ada, project=gone, user=fixtures.bob.user)
        task = TaskFactory(actor=fixtures.ada, project=gone, title="qz in a deleted project")
        CommentFactory(actor=fixtures.ada, task=task, body="qz there")
        delete_project(fixtures.ada, gone)
    with inside(fixtures.globex):
        task = TaskFactory(actor=fixtures.mallory, project=fixtures.secret, title="qz secret")
        CommentFactory(actor=fixtures.mallory, task=task, body="qz secret")
        PageFactory(actor=fixtures.mallory, project=fixtures.secret, title="qz secret")
    return others


def test_rows_that_are_not_visible_are_not_found(fixtures, secrets):
    with inside(fixtures.acme):
        assert found_by(fixtures.bob, "qz") == set()
        assert found_by(fixtures.bob, "qz", first_task_id=fixtures.secret_task.pk) == set()
        assert found_by(fixtures.ada, "qz") == {("page", "qz draft")}
        assert found_by(fixtures.carl, "qz") == {("page", "qz draft")}, "an admin of the project"
        assert ("task", "qz task") in found_by(fixtures.boss, "qz")
        ProjectMember.objects.filter(user=fixtures.carl.user).update(role=Role.MEMBER)
        assert found_by(fixtures.carl, "qz") == set()


def call(table, viewer, *, projects=None, query="'qz'", titles=(" qz ",)):
    """What the database function returns by itself, without the conditions around it."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT search_page_{table}(%s, %s, NULL, %s, ARRAY[]::text[], %s::text[], 100)",
            [viewer, projects, query, list(titles)],
        )
        return [pk for (pk,) in cursor.fetchall()]


@on_postgres
@pytest.mark.isolation
@pytest.mark.raw_sql
@pytest.mark.parametrize("table", TABLES.values())
def test_function_determines_the_visible_projects_from_the_user(fixtures, secrets, table):
    every_project = [secrets.pk, fixtures.apollo.pk, fixtures.secret.pk]
    with inside(fixtures.acme):
        for projects in (None, every_project, [secrets.pk], [fixtures.secret.pk], []):
            assert call(table, fixtures.bob.user.pk, projects=projects) == []
            assert call(table, fixtures.mallory.user.pk, projects=projects) == []
            assert call(table, None, projects=projects) == []
        assert len(call(table, fixtures.eve.user.pk)) == 1
        assert call(table, fixtures.eve.user.pk, projects=[fixtures.apollo.pk]) == []
        assert len(call(table, fixtures.boss.user.pk, projects=[secrets.pk])) == 1
        for query in (f"'@{fixtures.globex.pk}'", f"'qz' | '@{fixtures.globex.pk}'", "!'a'"):
            found = call(table, fixtures.boss.user.pk, query=query, titles=())
            model = {t.model._meta.db_table: t.model for t in SEARCHABLE_TYPES}[table]
            assert set(found) <= set(model.objects.values_list("pk", flat=True))


@on_postgres
@pytest.mark.isolation
@pytest.mark.raw_sql
def test_function_finds_nothing_for_a_user_who_was_deactivated(fixtures, secrets):
    with inside(fixtures.acme):
        fixtures.boss.user.is_active = False
        type(fixtures.boss.user).objects.filter(pk=fixtures.boss.user.pk).update(is_active=False)
        assert call("tasks_task", fixtures.boss.user.pk) == []


@on_postgres
@pytest.mark.isolation
@pytest.mark.raw_sql
def test_function_raises_an_error_outside_a_tenant(fixtures):
    with pytest.raises(DatabaseError), transaction.atomic():
        call("tasks_task", fixtures.boss.user.pk)
