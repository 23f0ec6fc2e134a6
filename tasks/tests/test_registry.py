"""The registry of resource types agrees with the models, the migrations and the event log."""

from __future__ import annotations

from importlib import import_module

import pytest
from django.apps import apps
from django.db import models

from taskflow.audit.models import Event
from taskflow.audit.resource_types import resource_types, type_of_model
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.models import RESOURCE_TYPES, Comment, Project, ProjectMember, Tag, Task
from tasks.models.registry import SEARCHABLE_TYPES, TRASHABLE_TYPES, require_project
from tasks.models.trash import Trashable
from tasks.schemas.search import SearchKind
from tasks.schemas.trash import TrashKind

search_migration = import_module("tasks.migrations.0002_search")


def test_search_migration_indexes_the_search_columns():
    indexed = {
        table: tuple(column for column in columns if column != "''")
        for table, columns in search_migration.TEXTS.items()
    }

    assert indexed == {t.model._meta.db_table: t.search_columns for t in SEARCHABLE_TYPES}


def test_every_model_with_a_trash_is_registered():
    models_with_trash = {m for m in apps.get_models() if issubclass(m, Trashable)}

    assert {t.model for t in TRASHABLE_TYPES} == models_with_trash
    assert all(t.removal == ("deleted", "deleted_at") for t in TRASHABLE_TYPES)


def test_kinds_of_the_api_are_the_registered_types():
    assert list(TrashKind) == ["project", "task", "comment", "page"]
    assert list(SearchKind) == ["task", "comment", "page"]


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


def test_project_of_a_row_is_found_through_what_it_belongs_to(world):
    with inside(world.acme):
        comment = create_comment(world.bob, world.task, body="x")

        assert require_project(comment) == world.apollo
        assert require_project(ProjectMember.objects.first()) == world.apollo
        with pytest.raises(LookupError):
            require_project(world.bob.user)


def test_every_recorded_subject_type_is_registered(world):
    with inside(world.acme):
        recorded = set(Event.objects.values_list("subject_type", flat=True))

    assert recorded <= resource_types().keys()
