"""Rows of the factories are created by the actions: with events, numbers and counts."""

from __future__ import annotations

import pytest

from accounts.tests.factories import (
    AgentFactory,
    ApiTokenFactory,
    TenantFactory,
    UserFactory,
)
from conftest import ApiClient
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.models import Task
from tasks.tests.factories import (
    CommentFactory,
    MemberFactory,
    PageFactory,
    ProjectFactory,
    TagFactory,
    TaskFactory,
    ViewFactory,
)

pytestmark = pytest.mark.one_database

FACTORIES = [
    (UserFactory, "created"),
    (AgentFactory, "created"),
    (ProjectFactory, "created"),
    (MemberFactory, "joined"),
    (TaskFactory, "created"),
    (PageFactory, "created"),
    (CommentFactory, "created"),
    (TagFactory, "created"),
    (ViewFactory, "created"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("factory", "verb"), FACTORIES, ids=lambda value: getattr(value, "__name__", None)
)
def test_factory_without_arguments_creates_a_recorded_row_in_a_new_tenant(factory, verb):
    row = factory()

    with inside(row.tenant_id):
        recorded = Event.objects.filter(subject_type=row._meta.model_name, subject_id=row.pk)
        assert list(recorded.values_list("verb", flat=True)) == [verb]
        assert type(row).objects.filter(pk=row.pk).exists()


def test_factory_creates_as_the_given_actor_in_the_given_project(fixtures):
    task = TaskFactory(actor=fixtures.bob, project=fixtures.apollo, tags=["bug"])

    assert (task.tenant_id, task.created_by, task.number) == (
        fixtures.acme.pk,
        fixtures.bob.user,
        2,
    )
    with inside(fixtures.acme):
        assert Task.objects.visible_to(fixtures.bob.viewer).count() == 2


def test_factory_with_values_that_the_action_refuses_raises_its_error(fixtures):
    with inside(fixtures.acme), pytest.raises(Exception, match="administrator"):
        UserFactory(actor=fixtures.bob)


def test_token_of_the_factory_signs_in(fixtures):
    token, text = ApiTokenFactory(actor=fixtures.ada)

    assert ApiClient(text).get("/me").json()["handle"] == "ada"
    assert token.user == fixtures.ada.user


@pytest.mark.django_db
def test_tenants_of_the_factory_are_independent():
    first, second = TenantFactory(), TenantFactory(subdomain="other")

    assert first.pk != second.pk
    assert second.subdomain == "other"
