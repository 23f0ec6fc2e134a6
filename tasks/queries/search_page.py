"""One page of a search in several resource types, by one statement that is compiled once.

On PostgreSQL a function of the database finds the first rows of each type, see
tasks/migrations/_search_pages.py. It determines the visible projects by itself, and visible_to()
filters the rows that it returns once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BooleanField,
    F,
    Func,
    IntegerField,
    Model,
    Q,
    QuerySet,
    TextField,
    Value,
)

from taskflow.audit.actor import Actor
from taskflow.audit.resource_types import ResourceType
from taskflow.db.page_query import IdArrayOf, IdSubquery, IsInSubqueries
from taskflow.db.query import QueryCache
from taskflow.db.statements import Parameter
from taskflow.db.types import Row, SqlAndParams
from taskflow.db.viewer import Viewer
from taskflow.http.paging import FilterValues
from taskflow.tenancy import with_tenant_parameter
from tasks.models import Project, ProjectMember, Role, Task
from tasks.models.registry import SEARCHABLE_TYPES, project_path
from tasks.queries.conditions import apply_filters
from tasks.queries.search import SearchedText, Term, add_rank, matches, rank, read_text

if TYPE_CHECKING:
    from django.db.models.sql.compiler import SQLCompiler

TYPES = {t.name: t for t in SEARCHABLE_TYPES}


class Hit(NamedTuple):
    """A row that a search has found."""

    type_name: str
    id: int
    in_title: bool  # whether all words are in its own title
    updated_at: datetime
    number: int | None  # of a task; of a comment, that of its task
    project_id: int
    project_key: str
    title: str  # of a comment, that of its task
    text: str

    @property
    def key(self) -> str | None:
        """The key of the task, or of the comment's task."""
        return f"{self.project_key}-{self.number}" if self.number else None


def find_page(
    actor: Actor,
    terms: Sequence[Term],
    type_names: Sequence[str],
    *,
    filters: FilterValues,
    first_task_id: int | None = None,
    skip: int = 0,
    limit: int,
    is_last: bool = False,
) -> tuple[list[Hit], bool]:
    """Search these resource types. Return a page, best first, and whether there are more rows.

    First comes the task with the id `first_task_id`, even if it does not match; then rows with all
    words in the title; then the latest changed. `filters` are values of read_filters(). One query,
    the last of the request if `is_last`: see allow_early_commit().
    """
    if not type_names:
        return [], False
    end = skip + limit
    rows = PAGE_QUERIES.fetch(
        # The size is rounded, so that the number of different statements is small.
        (tuple(type_names), tuple(filters), 1 << end.bit_length(), actor.is_operator),
        actor.viewer,
        read_text(terms),
        tuple(filters.values()),
        first_task_id,
        commit_with=is_last,
    )
    return [_read_hit(type_names, row) for row in rows[skip:end]], len(rows) > end


def _read_hit(type_names: Sequence[str], row: Row) -> Hit:
    pk, updated_at, _is_first, in_title, type_number, *columns = row
    return Hit(type_names[type_number], pk, bool(in_title), updated_at, *columns)


@with_tenant_parameter
def _select_page(
    type_names: tuple[str, ...],
    filter_names: tuple[str, ...],
    size: int,
    is_operator: bool,
    viewer: Viewer,
    searched: SearchedText,
    filter_values: Sequence[object],
    first_task_id: Parameter | None,
) -> QuerySet[Model, Row]:
    """Return the first `size` rows of all types, with the columns that _read_hit() reads."""
    filters = dict(zip(filter_names, filter_values, strict=True))
    search = _Search(viewer, searched, filters, first_task_id, size)
    # The function knows the users of this tenant only, and no words to exclude.
    by_function = connection.vendor == "postgresql" and not is_operator and "q_not" not in filters
    first, *others = (
        _select_columns(
            number, TYPES[name], search.select(TYPES[name].model, by_function=by_function)
        )
        for number, name in enumerate(type_names)
    )
    rows = first.union(*others, all=True) if others else first
    order = ("-is_first", "-in_title", "-updated_at", "-id", "type_number")
    return rows.order_by(*order)[:size]


PAGE_QUERIES = QueryCache(_select_page)


def _select_columns(
    number_of_type: int, resource_type: ResourceType, rows: QuerySet[Model, Any]
) -> QuerySet[Model, Row]:
    """Return the columns that _read_hit() reads. A row without a title has that of its owner."""
    columns, model = resource_type.search_columns, resource_type.model
    path = f"{resource_type.belongs_to}__" if len(columns) == 1 else ""
    titled = resource_type.owner_model if path else model
    project = project_path(model)
    number = F(f"{path}number") if titled is Task else Value(None, output_field=IntegerField())
    rows = rows.annotate(type_number=Value(number_of_type), _number=number)
    selected: QuerySet[Model, Row] = rows.values_list(
        *("id", "updated_at", "is_first", "in_title", "type_number"),
        *("_number", f"{project}_id", f"{project}__key", f"{path}title", columns[-1]),
    )
    return selected


# ---- the first rows of one type -----------------------------------------------------------------


class _Search(NamedTuple):
    """What is searched in each type. The values are parameters of the query."""

    viewer: Viewer
    searched: SearchedText
    filters: FilterValues
    first_task_id: Parameter | None
    size: int

    def select(self, model: Any, *, by_function: bool) -> QuerySet[Model, Any]:
        """Return the first `size` rows of one type, or one more, with the columns of add_rank()."""
        rows = apply_filters(model.objects.visible_to(self.viewer), self.filters)
        first_id = self.first_task_id if model is Task else None
        is_first = Q(pk__in=[]) if first_id is None else Q(pk=first_id)
        if by_function:
            is_on_page = Q(_IsReturned(model, self))
        else:
            # The OR is used only if needed, because with it the database does not use the index.
            condition = matches(model, self.searched.condition)
            matching = rows.filter(condition if first_id is None else condition | is_first)
            ids = rank(matching, self.searched, first_id).values("pk")[: self.size]
            is_on_page = Q(IsInSubqueries("pk", IdSubquery(ids)))
        return add_rank(rows.filter(is_on_page | is_first), self.searched, first_id)

    def select_projects(self) -> IdArrayOf | Value:
        """Return the projects to search, as an array of ids; null for all that are visible."""
        filters: Any = self.filters
        names = filters.keys() & {"project", "project_not"}
        if not names and self.viewer.project_ids is None and self.viewer.maker_id is None:
            return NULL
        projects = Project.objects.visible_to(self.viewer)
        if "project" in names:
            projects = projects.filter(pk__in=filters["project"])
        if "project_not" in names:
            projects = projects.exclude(pk__in=filters["project_not"])
        return IdArrayOf(projects.order_by().values("pk"))

    def select_projects_with_drafts(self) -> IdArrayOf | Value:
        """Return the projects all of whose drafts are visible, as an array of ids; null for all
        that the viewer manages.
        """
        if self.viewer.maker_id is None:
            return NULL
        managed = ProjectMember.objects.with_role(self.viewer, Role.OWNER, Role.ADMIN)
        return IdArrayOf(managed.order_by().values("project_id"))


NULL = Value(None, output_field=TextField())


class _TextArray(Func):
    """An array of texts, for PostgreSQL."""

    template = "ARRAY[%(expressions)s]::text[]"
    output_field = TextField()


class _IsReturned(Func):
    """Whether the function of the table returns the row, for PostgreSQL."""

    output_field = BooleanField()

    def __init__(self, model: type[Model], search: _Search) -> None:
        (query, literals), titles = search.searched
        self.function = f"search_page_{model._meta.db_table}"
        super().__init__(
            F("pk"),
            search.viewer.user_id,
            search.select_projects(),
            search.select_projects_with_drafts(),
            NULL if query is None else query,
            _TextArray(*literals),
            _TextArray(*titles),
            Value(search.size),
        )

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        *args: str | None,
        **context: str | None,
    ) -> SqlAndParams:
        compiled = [compiler.compile(part) for part in self.get_source_expressions()]
        params = [param for _, inner_params in compiled for param in inner_params]
        column, *arguments = [sql for sql, _ in compiled]
        # As an array, so that the plan begins with the ids: the planner assumes that a function
        # returns a thousand rows.
        ids = f"SELECT {self.function}({', '.join(arguments)})"
        return f"{column} = ANY(ARRAY({ids}))", params
