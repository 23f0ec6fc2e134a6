"""The clock of the database, in queries of each kind."""

from __future__ import annotations

from datetime import timedelta

from django.test.utils import override_settings
from django.utils import timezone

from accounts.models import Tenant
from taskflow.db.clock import DatabaseTime


def test_time_of_the_database_is_that_of_now(db, fixtures):
    (now,) = Tenant.objects.annotate(now=DatabaseTime()).values_list("now", flat=True)[:1]

    assert abs(now - timezone.now()) < timedelta(minutes=1)


@override_settings(DEBUG=True)
def test_statement_with_the_time_and_a_parameter_can_be_logged(db, fixtures):
    rows = Tenant.objects.filter(name="none", created_at__lt=DatabaseTime())

    assert list(rows) == []
    assert rows.update(updated_at=DatabaseTime()) == 0
