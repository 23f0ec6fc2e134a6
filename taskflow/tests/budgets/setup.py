"""The rows and clients that all requests use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conftest import ApiClient, Fixtures, token_of
from taskflow.audit.actor import Actor
from tasks.models import Project, Task
from tasks.tests.factories import MemberFactory, ProjectFactory, TaskFactory

Request = Callable[[], Any]


class Setup:
    """The shared rows, and clients whose tokens have been used before."""

    def __init__(self, fixtures: Fixtures) -> None:
        self.fixtures = fixtures
        self.ada, self.bob, self.boss = map(
            self._client_of, (fixtures.ada, fixtures.bob, fixtures.boss)
        )

    def _client_of(self, actor: Actor) -> ApiClient:
        client = ApiClient(token_of(actor))
        client.get("/me")  # the first use of a token is recorded
        return client

    def add_tasks(self, rows: int, **values: Any) -> list[Task]:
        return [self.add_task(**values) for _ in range(rows)]

    def add_task(self, **values: Any) -> Task:
        return TaskFactory(actor=self.fixtures.ada, **{"project": self.fixtures.apollo} | values)

    def add_project(self, **values: Any) -> Project:
        """A project of Ada in which Bob is a member."""
        project = ProjectFactory(actor=self.fixtures.ada, **values)
        MemberFactory(actor=self.fixtures.ada, project=project, user=self.fixtures.bob.user)
        return project
