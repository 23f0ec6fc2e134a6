"""What the requests begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conftest import ApiClient, World, token_of
from taskflow.audit.actor import Actor
from tasks.models import Project, Task
from tasks.tests.factories import MemberFactory, ProjectFactory, TaskFactory

Request = Callable[[], Any]


class Setup:
    """The shared rows, and clients whose tokens have been used before."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ada, self.bob, self.boss = map(self._client_of, (world.ada, world.bob, world.boss))

    def _client_of(self, actor: Actor) -> ApiClient:
        client = ApiClient(token_of(actor))
        client.get("/me")  # the first use of a token is recorded
        return client

    def add_tasks(self, rows: int, **values: Any) -> list[Task]:
        return [self.add_task(**values) for _ in range(rows)]

    def add_task(self, **values: Any) -> Task:
        return TaskFactory(actor=self.world.ada, **{"project": self.world.apollo} | values)

    def add_project(self, **values: Any) -> Project:
        """A project of Ada in which Bob is a member."""
        project = ProjectFactory(actor=self.world.ada, **values)
        MemberFactory(actor=self.world.ada, project=project, user=self.world.bob.user)
        return project
