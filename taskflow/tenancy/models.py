"""The application's lock: what tenants' rows are, and how they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.db import models
from django.db.models.deletion import Collector
from django.db.models.signals import class_prepared
from django.db.models.sql.where import WhereNode

from taskflow.db.writes import insert, insert_all, insert_later
from taskflow.tenancy.constraints import (
    CompositeFK,
    RowSecurity,
    TenantKey,
    TenantStatistics,
    add_constraint,
)
from taskflow.tenancy.unit import ACROSS, TenantError, current_tenant_id, current_unit

_M = TypeVar("_M", bound=models.Model)
IDS_WITHOUT_KEY = {"project_id", "subject_id"}  # of rows that may be gone, in the log and counts


def _refuse_strangers(rows: Iterable[models.Model]) -> None:
    scope = current_unit()
    for row in rows:
        tenant_id = row.tenant_id  # type: ignore[attr-defined]
        if tenant_id is None or (scope != ACROSS and tenant_id != scope):
            raise TenantError(f"{row._meta.label} of tenant {tenant_id} written in scope {scope}")


class TenantQuerySet(models.QuerySet[_M]):
    def bulk_create(self, objs: Iterable[_M], *args: Any, **kwargs: Any) -> list[_M]:
        unique_fields = kwargs.get("unique_fields")
        if unique_fields and unique_fields[0] != "tenant":
            raise TenantError("unique_fields must lead with tenant, or an upsert crosses the wall")
        rows = list(objs)
        _refuse_strangers(rows)
        return super().bulk_create(rows, *args, **kwargs)

    def bulk_update(self, objs: Iterable[_M], *args: Any, **kwargs: Any) -> int:
        rows = tuple(objs)
        _refuse_strangers(rows)
        return super().bulk_update(rows, *args, **kwargs)

    def update(self, **values: Any) -> int:
        if values.keys() & {"tenant", "tenant_id"}:
            raise TenantError("a row cannot move to another tenant")
        return super().update(**values)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the rows; what hangs on them goes by the database's ON DELETE CASCADE.

        Django's own path deletes by primary key alone, which on SQLite reaches every tenant.
        Raises ProtectedError like it.
        """
        rows = list(self)
        Collector(using=self.db, origin=self).collect(rows)
        doomed = self.model._base_manager.using(self.db).filter(pk__in=[row.pk for row in rows])
        count = doomed._raw_delete(self.db) or 0
        return count, {self.model._meta.label: count}


class TenantManager(models.Manager[_M]):
    """The default and base manager of every TenantModel."""

    _queryset_class = TenantQuerySet

    def bulk_create(self, objs: Iterable[_M], *args: Any, **kwargs: Any) -> list[_M]:
        """By SQL that is compiled once, where that is possible."""
        rows = list(objs)
        if not rows:
            return rows
        if not args and not kwargs.keys() - {"batch_size"}:
            _refuse_strangers(rows)
            if insert(rows[0]) if len(rows) == 1 else insert_all(rows, "tenant_id"):
                return rows
        return self.get_queryset().bulk_create(rows, *args, **kwargs)

    def create_later(self, row: _M) -> None:
        """Save a row that nobody asks for its id: on PostgreSQL with the next statement."""
        _refuse_strangers([row])
        if not insert_later(row):
            self.get_queryset().bulk_create([row])

    def get_queryset(self) -> models.QuerySet[_M]:
        scope = current_unit()
        if scope is None:
            name = self.model.__name__
            raise TenantError(f"{name} was queried outside a tenant: enter one with `inside()`.")
        rows = super().get_queryset()
        return rows if scope == ACROSS else rows.filter(tenant_id=scope)


class TenantModel(models.Model):
    """A table whose every row belongs to one tenant. Give foreign keys as TenantFK.

    `unrecorded` fields never reach the event log. `derived` ones follow from others, and nobody
    sets them. `noted` columns are up to date on the rows that note_changes() is shown.
    `project_field` names the column that holds the id of the project a row belongs to, for the log.
    """

    unrecorded: ClassVar[frozenset[str]] = frozenset()
    derived: ClassVar[frozenset[str]] = frozenset()
    noted: ClassVar[frozenset[str]] = frozenset()
    project_field: ClassVar[str | None] = None

    tenant = models.ForeignKey(
        "accounts.Tenant",
        models.PROTECT,
        related_name="+",
        default=current_tenant_id,
        editable=False,
        db_index=False,
    )
    objects = TenantManager()

    if TYPE_CHECKING:
        version: Any  # of whatever passes the write door

    class Meta:
        abstract = True
        base_manager_name = "objects"  # foreign keys, refresh_from_db and save are scoped too

    @classmethod
    def note_changes(cls, changes: Iterable[tuple[Any, dict[str, list[Any]]]]) -> None:
        """Keep what follows from rows of this model. The write door calls it with every change, as
        recorded, in its transaction.
        """

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        _refuse_strangers([self])
        super().save_base(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """See TenantQuerySet.delete()."""
        _refuse_strangers([self])
        return type(self)._base_manager.filter(pk=self.pk).delete()


class TenantFK(models.ForeignKey):  # type: ignore[type-arg]
    """A foreign key that cannot leave its tenant: (tenant_id, x_id) → (tenant_id, id)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False  # CompositeFK stands in its place
        kwargs.setdefault("db_index", False)  # indexes lead with the tenant, in Meta
        super().__init__(*args, **kwargs)

    def contribute_to_related_class(self, cls: Any, related: Any) -> None:
        super().contribute_to_related_class(cls, related)
        if self.model.__module__ != "__fake__":  # migrations state their constraints themselves
            name = f"{cls._meta.db_table}_tenant_id_key"
            add_constraint(cls, TenantKey(fields=["tenant", "id"], name=name))

    def get_extra_restriction(self, alias: str | None, related_alias: str | None) -> Any:
        """Say a.tenant_id = b.tenant_id in every join."""
        if not (alias and related_alias):
            return None  # Query.trim_start() of a negated multi-valued filter
        here = _tenant_column(self.model, related_alias)
        there = _tenant_column(self.related_model, alias)
        return WhereNode([models.lookups.Exact(here, there)])  # type: ignore[list-item]


def _tenant_column(model: Any, alias: str) -> Any:
    return model._meta.get_field("tenant").get_col(alias)


def _add_guards(sender: type[models.Model], **kwargs: Any) -> None:
    if not is_tenant_model(sender):
        return
    table = sender._meta.db_table
    for field in sender._meta.local_fields:
        if isinstance(field, TenantFK):
            if not field.null:  # its key leads to the tenant; asking again costs every insert
                sender._meta.get_field("tenant").db_constraint = False  # type: ignore[union-attr]
            name = f"{table}_{field.column}_tenant_fk"
            add_constraint(sender, CompositeFK(name=name, field=field.name))
    add_constraint(sender, RowSecurity(name=f"{table}_rls"))
    fields = sender._meta.local_fields
    keys = [f.name for f in fields if isinstance(f, TenantFK) or f.name in IDS_WITHOUT_KEY]
    if keys:
        add_constraint(sender, TenantStatistics(name=f"{table}_stats", fields=keys))


def is_tenant_model(model: Any) -> bool:
    return (
        isinstance(model, type)
        and issubclass(model, TenantModel)
        and not model._meta.abstract
        and not model._meta.proxy
    )


class_prepared.connect(_add_guards)
