"""The registry of resource types agrees with the models, the migrations and the event log."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from django.apps import apps
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.urls import reverse

from conftest import build_fixtures
from taskflow.audit.models import Event
from taskflow.audit.resource_types import resource_types, type_of_model
from taskflow.tenancy import OWNER_ROLE, current_tenant_id, has_roles, inside
from tasks.actions.comments import create_comment
from tasks.actions.projects import create_project
from tasks.export.values import CHECKED_COLUMNS
from tasks.migrations._search import AddSearchIndex
from tasks.migrations._search_pages import AddSearchPages
from tasks.models import RESOURCE_TYPES, Comment, Project, ProjectMember, Tag, Task
from tasks.models.registry import TRASHABLE_TYPES, require_project
from tasks.models.trash import Trashable
from tasks.queries.search import SEARCH_COLUMNS
from tasks.schemas.search import SearchKind
from tasks.schemas.trash import TrashKind

pytestmark = pytest.mark.one_database


def test_migrations_index_the_search_columns():
    migrations = MigrationLoader(None).disk_migrations.values()
    added = [o for m in migrations for o in m.operations if isinstance(o, AddSearchIndex)]

    assert {operation.table: operation.columns for operation in added} == {
        model._meta.db_table: columns for model, columns in SEARCH_COLUMNS.items()
    }


def test_migrations_add_a_function_that_searches_each_type():
    migrations = MigrationLoader(None).disk_migrations.values()
    added = [o.table for m in migrations for o in m.operations if isinstance(o, AddSearchPages)]

    columns = {t.name: (*["title_words"] * t.has_title, t.text) for t in added}
    assert columns == {model._meta.db_table: names for model, names in SEARCH_COLUMNS.items()}


@pytest.mark.django_db(transaction=True)
def test_search_index_can_be_added_to_another_table_and_removed():
    operation, state = AddSearchIndex("tasks_project", "name_folded"), ProjectState()
    with schema_editor_of_owner() as editor:
        operation.database_forwards("tasks", editor, state, state)
    fixtures = build_fixtures()
    with inside(fixtures.acme):
        create_project(fixtures.ada, name="Zeppelin")

        matching = index_of_projects("zeppelin")

    with schema_editor_of_owner() as editor:
        operation.database_backwards("tasks", editor, state, state)
    assert matching == 1
    assert not any(
        "tasks_project_search" in name for name in connection.introspection.table_names()
    )


@contextmanager
def schema_editor_of_owner():
    """A schema editor in the role that owns the tables, if the database has roles."""
    has_owner = connection.vendor == "postgresql" and has_roles(connection)
    with connection.cursor() as cursor:
        if has_owner:
            cursor.execute(f"SET ROLE {OWNER_ROLE}")
        with connection.schema_editor() as editor:
            yield editor
        if has_owner:
            cursor.execute("RESET ROLE")


def index_of_projects(word):
    """The number of projects of the present tenant that the full-text index finds."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT count(*) FROM search_tasks_project(%s)", [word])
        else:
            cursor.execute(
                "SELECT count(*) FROM tasks_project_search WHERE tasks_project_search MATCH %s",
                [f'"@{current_tenant_id()}" AND "{word}"'],
            )
        return cursor.fetchone()[0]


def test_every_model_with_a_trash_is_registered():
    models_with_trash = {m for m in apps.get_models() if issubclass(m, Trashable)}

    assert {t.model for t in TRASHABLE_TYPES} == models_with_trash
    assert all(t.removal == ("deleted", "deleted_at") for t in TRASHABLE_TYPES)


def test_kinds_of_trash_and_search_are_the_registered_types():
    assert list(TrashKind) == ["project", "task", "comment", "page"]
    assert list(SearchKind) == ["task", "comment", "page"]


@pytest.mark.parametrize("resource_type", TRASHABLE_TYPES, ids=lambda t: t.name)
def test_texts_of_users_are_checked_by_an_import(resource_type):
    texts = {
        field.name
        for field in resource_type.model._meta.concrete_fields
        if isinstance(field, models.CharField | models.TextField | models.JSONField)
        and field.editable
        and not field.choices
    }

    assert texts == set(CHECKED_COLUMNS[f"tasks.{resource_type.name}"][1])


@pytest.mark.parametrize("resource_type", TRASHABLE_TYPES, ids=lambda t: t.name)
def test_resource_type_is_in_the_menu_of_the_admin(resource_type, settings):
    sections = settings.UNFOLD["SIDEBAR"]["navigation"]
    links = [str(item["link"]) for section in sections for item in section["items"]]

    assert reverse(f"admin:tasks_{resource_type.name}_changelist") in links


@pytest.mark.parametrize("resource_type", RESOURCE_TYPES, ids=lambda t: t.name)
def test_resource_type_names_fields_of_its_model(resource_type):
    columns = {f.name for f in resource_type.model._meta.get_fields()}
    single = {resource_type.belongs_to, resource_type.parent, resource_type.author} - {None}
    named = single | {*resource_type.search_columns, *resource_type.unique}

    assert named | set(resource_type.csv_columns) <= columns
    assert all(resource_type.model._meta.get_field(n).related_model for n in single)


@pytest.mark.parametrize("resource_type", RESOURCE_TYPES, ids=lambda t: t.name)
def test_resource_type_comes_after_the_types_it_points_at(resource_type):
    names = list(resource_types())
    required = {
        f.related_model._meta.model_name
        for f in resource_type.model._meta.concrete_fields
        if isinstance(f, models.ForeignKey) and f.related_model is not resource_type.model
    }

    assert required <= set(names[: names.index(resource_type.name)])


def test_path_leads_to_the_row_that_a_row_belongs_to():
    assert type_of_model(Comment).path_to(Project) == "task__project"
    assert type_of_model(Comment).path_to(Task) == "task"
    assert type_of_model(Project).path_to(Project) == "pk"
    assert type_of_model(Task).path_to(Comment) is None
    assert type_of_model(Tag).path_to(Project) is None


def test_project_of_a_row_is_found_through_what_it_belongs_to(fixtures):
    with inside(fixtures.acme):
        comment = create_comment(fixtures.bob, fixtures.task, body="x")

        assert require_project(comment) == fixtures.apollo
        assert require_project(ProjectMember.objects.first()) == fixtures.apollo
        with pytest.raises(LookupError):
            require_project(fixtures.bob.user)


def test_every_recorded_subject_type_is_registered(fixtures):
    with inside(fixtures.acme):
        recorded = set(Event.objects.values_list("subject_type", flat=True))

    assert recorded <= resource_types().keys()
