"""Tenant isolation in the application: models of tenant-owned rows, and their managers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from django.db import models
from django.db.models.deletion import Collector
from django.db.models.signals import class_prepared
from django.db.models.sql.where import WhereNode

from taskflow.db.writes import Numbering, defer_insert, insert, insert_numbered, insert_rows
from taskflow.tenancy.constraints import (
    CompositeFK,
    RowSecurity,
    TenantPrimaryKey,
    TenantStatistics,
    TenantUniqueId,
    add_constraint,
)
from taskflow.tenancy.unit import ALL_TENANTS, TenantError, current_tenant_id, current_unit

if TYPE_CHECKING:
    from taskflow.audit.actor import Actor

RowT = TypeVar("RowT", bound=models.Model)
Changes = Mapping[str, Sequence[Any]]  # [value before, value after] as JSON, by field name
# Ids without a foreign key, since the row may be deleted: in the event log and the counts.
IDS_WITHOUT_FOREIGN_KEY = {"project_id", "subject_id"}
BEFORE_ALL_FIELDS = -(10**6)  # Django's own creation counters start at -1 and at 0


def _refuse_other_tenants(rows: Iterable[models.Model]) -> None:
    """Raise TenantError unless every row belongs to the tenant of the open unit of work."""
    for row in rows:
        _refuse_other_tenant(type(row), row.tenant_id)  # type: ignore[attr-defined]


def _refuse_other_tenant(model: type[models.Model], tenant_id: object) -> None:
    """Raise TenantError unless it is the tenant of the open unit of work."""
    unit = current_unit()
    if tenant_id is None or (unit != ALL_TENANTS and tenant_id != unit):
        label = model._meta.label
        raise TenantError(f"{label} of tenant {tenant_id} was written in a unit of work of {unit}.")


class TenantQuerySet(models.QuerySet[RowT]):
    """A queryset that refuses to write rows of another tenant."""

    def bulk_create(self, objs: Iterable[RowT], *args: Any, **kwargs: Any) -> list[RowT]:
        unique_fields = kwargs.get("unique_fields")
        if unique_fields and unique_fields[0] != "tenant":
            raise TenantError(
                "The first of unique_fields must be tenant: an upsert by the others alone could"
                " change a row of another tenant."
            )
        rows = list(objs)
        _refuse_other_tenants(rows)
        return super().bulk_create(rows, *args, **kwargs)

    def bulk_update(self, objs: Iterable[RowT], *args: Any, **kwargs: Any) -> int:
        rows = tuple(objs)
        _refuse_other_tenants(rows)
        return super().bulk_update(rows, *args, **kwargs)

    def update(self, **values: object) -> int:
        if values.keys() & {"tenant", "tenant_id"}:
            raise TenantError("A row cannot be moved to another tenant.")
        return super().update(**values)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the rows. The database deletes the rows that depend on them (ON DELETE CASCADE).

        Returns the number of these rows alone, in Django's form. Raises ProtectedError when other
        rows reference one of them by a field with models.PROTECT. Django's own delete() would
        delete by the primary key alone, and so on SQLite rows of every tenant.
        """
        rows = list(self)
        _TenantCollector(using=self.db, origin=self).collect(rows)
        self._set_references_to_null(rows)
        to_delete = self.model._base_manager.using(self.db).filter(pk__in=[row.pk for row in rows])
        count = to_delete._raw_delete(self.db) or 0
        return count, {self.model._meta.label: count}

    def _set_references_to_null(self, rows: list[RowT]) -> None:
        """Update the foreign keys with models.SET_NULL, which SQLite cannot: see CompositeFK."""
        for relation in self.model._meta.related_objects:
            if relation.on_delete is models.SET_NULL and rows:
                name = relation.field.name
                referring = relation.related_model._base_manager.filter(**{f"{name}__in": rows})
                referring.update(**{name: None})


class _TenantCollector(Collector):
    """Finds the rows that protect others from deletion. Searches tables of tenant-owned rows only.

    Django's admin log also references users, but has no table (see settings.MIGRATION_MODULES).
    """

    def related_objects(self, related_model: Any, related_fields: Any, objs: Any) -> Any:
        if not is_tenant_model(related_model):
            return related_model._base_manager.none()
        return super().related_objects(related_model, related_fields, objs)


class TenantManager(models.Manager[RowT]):
    """The default and base manager of every TenantModel.

    Outside a unit of work its querysets raise TenantError; inside, they hold the tenant's rows.
    """

    _queryset_class = TenantQuerySet

    def bulk_create(self, objs: Iterable[RowT], *args: Any, **kwargs: Any) -> list[RowT]:
        """Insert the rows. Uses a statement that is compiled once if the arguments allow it."""
        rows = list(objs)
        if not rows:
            return rows
        if not args and not kwargs.keys() - {"batch_size"}:
            _refuse_other_tenants(rows)
            if self._insert_compiled(rows):
                return rows
        return self.get_queryset().bulk_create(rows, *args, **kwargs)

    def _insert_compiled(self, rows: Sequence[RowT]) -> bool:
        """Insert the rows with a statement that is compiled once. Return whether that was possible.

        A single row gets its number by the statement, if the model has numbers.
        """
        if len(rows) > 1:
            return insert_rows(rows, "tenant_id")
        numbering = self.model.numbering  # type: ignore[attr-defined]
        if numbering is not None and getattr(rows[0], numbering.column) is None:
            return insert_numbered(rows[0], numbering)
        return insert(rows[0])

    def defer_insert(self, values: Mapping[str, object]) -> None:
        """Insert a row whose id is not needed. PostgreSQL gets it with the next statement.

        `values` are the columns by attribute name: see writes.defer_insert().
        """
        _refuse_other_tenant(self.model, values["tenant_id"])
        defer_insert(self.model, values)

    def get_queryset(self) -> models.QuerySet[RowT]:
        unit = current_unit()
        if unit is None:
            name = self.model.__name__
            raise TenantError(
                f"{name} was queried outside a tenant: open a unit of work with `inside()`."
            )
        rows = super().get_queryset()
        return rows if unit == ALL_TENANTS else rows.filter(tenant_id=unit)


class TenantField(models.ForeignKey):  # type: ignore[type-arg]
    """The tenant that a row belongs to.

    It is the first column of its table, whatever the order of the fields in the source. It has no
    index of its own, since every index of the table begins with it.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**_TENANT_FIELD | kwargs)
        self.creation_counter = BEFORE_ALL_FIELDS

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, {k: v for k, v in kwargs.items() if k not in _TENANT_FIELD}


_TENANT_FIELD: dict[str, Any] = {
    "to": "accounts.Tenant",
    "on_delete": models.PROTECT,
    "related_name": "+",
    "default": current_tenant_id,
    "editable": False,
    "db_index": False,
}


class TenantModel(models.Model):
    """A model whose rows each belong to one tenant. Foreign keys to such models must be TenantFKs.

    `unrecorded`: fields that the event log leaves out.
    `derived`: fields that are computed from others and never set by a request.
    `columns_for_dependents`: columns that update_dependents() reads, locked and fresh.
    `project_field`: the column with the id of the row's project, for the event log.
    `published_field`: the column that says whether the row is published, for the event log. None if
    rows are never drafts.
    `numbering`: how a new row without a number gets the next one.
    `records_address`: whether events of its rows contain the address of the client.
    """

    unrecorded: ClassVar[frozenset[str]] = frozenset()
    derived: ClassVar[frozenset[str]] = frozenset()
    columns_for_dependents: ClassVar[frozenset[str]] = frozenset()
    project_field: ClassVar[str | None] = None
    published_field: ClassVar[str | None] = None
    numbering: ClassVar[Numbering | None] = None
    records_address: ClassVar[bool] = False

    tenant = TenantField()
    # Django's own getter makes two calls, and a request reads the ids of its rows thirty times.
    pk = models.Model.pk.getter(attrgetter("id"))
    objects = TenantManager()

    # The columns that were read under a lock, so that rules may use them. See audit/locks.py.
    fresh_columns: frozenset[str] = frozenset()

    if TYPE_CHECKING:
        # every model that the recorder writes has these
        version = models.PositiveIntegerField()
        updated_at = models.DateTimeField()

    class Meta:
        abstract = True
        base_manager_name = "objects"  # also for foreign keys, refresh_from_db and save

    @classmethod
    def update_dependents(cls, changes: Iterable[tuple[Self, Changes]]) -> None:
        """Update rows that are computed from rows of this model. The default does nothing.

        The recorder calls it with each row that it has written and the row's recorded changes, in
        the same transaction.
        """

    @classmethod
    def follow_changes(cls, actor: Actor, changes: Sequence[tuple[Self, Changes]]) -> None:
        """Refuse the changes, or change rows that depend on them and on the actor. The default does
        nothing.

        The recorder calls it as it calls update_dependents(), before it writes the events. The rows
        are locked. A Problem that it raises rolls back the request.
        """

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        _refuse_other_tenants([self])
        super().save_base(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete this row as TenantQuerySet.delete() does."""
        _refuse_other_tenants([self])
        return type(self)._base_manager.filter(pk=self.pk).delete()


class TenantFK(models.ForeignKey):  # type: ignore[type-arg]
    """A foreign key to a row of the same tenant: (tenant_id, x_id) → (tenant_id, id).

    It has no index of its own: name one in Meta.indexes, which begins with the tenant.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False  # CompositeFK replaces it
        kwargs.setdefault("db_index", False)  # an index of one column would mix all tenants
        super().__init__(*args, **kwargs)

    def contribute_to_related_class(self, cls: type[models.Model], related: Any) -> None:
        super().contribute_to_related_class(cls, related)
        if self.model.__module__ != "__fake__":  # models of migrations list their constraints
            add_constraint(cls, TenantUniqueId(name=f"{cls._meta.db_table}_tenant_id_key"))

    def get_extra_restriction(
        self, alias: str | None, related_alias: str | None
    ) -> WhereNode | None:
        """Return the condition a.tenant_id = b.tenant_id, which Django adds to every join."""
        if not (alias and related_alias):
            return None  # Query.trim_start() of a negated multi-valued filter
        own = _tenant_column(self.model, related_alias)
        referenced = _tenant_column(self.related_model, alias)
        return WhereNode([models.lookups.Exact(own, referenced)])  # type: ignore[list-item]


def _tenant_column(model: Any, alias: str) -> Any:
    return model._meta.get_field("tenant").get_col(alias)


def _add_constraints(sender: type[models.Model], **kwargs: object) -> None:
    """Add the constraints that isolate tenants to a new TenantModel, for makemigrations too.

    Also adds the tenant as the first field of each unique_together.
    """
    if not is_tenant_model(sender):
        return
    options = sender._meta
    table, fields = options.db_table, options.local_fields
    add_constraint(sender, TenantPrimaryKey(name=f"{table}_tenant_pk"))
    if options.unique_together:
        options.unique_together = tuple(("tenant", *names) for names in options.unique_together)
        options.original_attrs["unique_together"] = options.unique_together
    for field in fields:
        if isinstance(field, TenantFK):
            if not field.null:  # its foreign key checks the tenant already
                options.get_field("tenant").db_constraint = False  # type: ignore[union-attr]
            name = f"{table}_{field.column}_tenant_fk"
            add_constraint(sender, CompositeFK(name=name, field=field.name))
    add_constraint(sender, RowSecurity(name=f"{table}_rls"))
    keys = [f.name for f in fields if isinstance(f, TenantFK) or f.name in IDS_WITHOUT_FOREIGN_KEY]
    if keys:
        add_constraint(sender, TenantStatistics(name=f"{table}_stats", fields=keys))


def is_tenant_model(model: object) -> bool:
    """Return whether this is a model with its own table whose rows belong to tenants."""
    return (
        isinstance(model, type)
        and issubclass(model, TenantModel)
        and not model._meta.abstract
        and not model._meta.proxy
    )


class_prepared.connect(_add_constraints)
