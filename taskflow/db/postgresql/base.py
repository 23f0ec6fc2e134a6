"""Django's PostgreSQL backend with the features of TaskFlow's tables and servers."""

from __future__ import annotations

from django.db.backends.postgresql.base import DatabaseWrapper as DjangoWrapper
from django.db.backends.postgresql.features import DatabaseFeatures as DjangoFeatures


class DatabaseFeatures(DjangoFeatures):
    # The first version that has GRANT … WITH INHERIT, SET: see the migrate command. Django refuses
    # an older server at the first connection.
    minimum_database_version = (16,)
    # The primary key of a tenant-owned table is (tenant_id, id). PostgreSQL then refuses a GROUP BY
    # that names the id alone, so Django has to name every selected column.
    allows_group_by_selected_pks = False


class DatabaseWrapper(DjangoWrapper):
    features_class = DatabaseFeatures
