"""Factories of projects and what they contain. They create through the actions, as those of
accounts/tests/factories.py do.

Without `project` or `task`, the actor gets a new one.
"""

from __future__ import annotations

from typing import Any

import factory

from accounts.tests.factories import ActionFactory, UserFactory
from taskflow.audit.actor import Actor
from tasks.actions.claims import claim_tasks
from tasks.actions.comments import create_comment
from tasks.actions.members import add_member
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag
from tasks.actions.views import create_view
from tasks.changes.tasks import create_task
from tasks.models import Claim, Comment, Page, Project, ProjectMember, Tag, Task, View
from tasks.queries.claimable import lock_claimable_task


class ProjectFactory(ActionFactory):
    class Meta:
        model = Project

    name = factory.Sequence(lambda n: f"Project {n}")

    @classmethod
    def call_action(cls, actor: Actor, **values: Any) -> Project:
        return create_project(actor, **values)


class InProjectFactory(ActionFactory):
    """Base class of what belongs to a project."""

    class Meta:
        abstract = True

    project = factory.SubFactory(ProjectFactory, actor=factory.SelfAttribute("..actor"))


class MemberFactory(InProjectFactory):
    """A membership in `project`: of `user`, or of a new user, whom only administrators can add."""

    class Meta:
        model = ProjectMember

    user = factory.SubFactory(UserFactory, actor=factory.SelfAttribute("..actor"))

    @classmethod
    def call_action(cls, actor: Actor, **values: Any) -> ProjectMember:
        return add_member(actor, **values)


class TaskFactory(InProjectFactory):
    class Meta:
        model = Task

    title = factory.Sequence(lambda n: f"Task {n}")

    @classmethod
    def call_action(cls, actor: Actor, **values: Any) -> Task:
        return create_task(actor, **values)


class ClaimFactory(InProjectFactory):
    """A claim of the actor: of `task`, or of a new task of `project`."""

    class Meta:
        model = Claim

    @classmethod
    def call_action(cls, actor: Actor, **values: Any) -> Claim:
        project, task = values.pop("project"), values.pop("task", None)
        task = task or create_task(actor, project, title="To claim")
        return claim_tasks(actor, lambda _: lock_claimable_task(actor, task), **values)[0]


class PageFactory(InProjectFactory):
    class Meta:
        model = Page

    title = factory.Sequence(lambda n: f"Page {n}")

    @classmethod
    def call_action(cls, actor: Actor, **values: Any) -> Page:
        return create_page(actor, **values)


class CommentFactory(ActionFactory):
    class Meta:
        model = Comment

    task = factory.SubFactory(TaskFactory, actor=factory.SelfAttribute("..actor"))
    body = factory.Sequence(lambda n: f"Comment {n}")

    @classmethod
    def call_action(cls, actor: Actor, **values: Any) -> Comment:
        return create_comment(actor, **values)


class TagFactory(ActionFactory):
    class Meta:
        model = Tag

    name = factory.Sequence(lambda n: f"tag-{n}")

    @classmethod
    def call_action(cls, actor: Actor, **values: Any) -> Tag:
        return create_tag(actor, **values)


class ViewFactory(ActionFactory):
    class Meta:
        model = View

    name = factory.Sequence(lambda n: f"View {n}")
    where = factory.LazyFunction(lambda: {"status_not": ["done"]})

    @classmethod
    def call_action(cls, actor: Actor, **values: Any) -> View:
        return create_view(actor, **values)
