"""What a user does first, done with the generated client. Run by __main__.py, in its environment.

`python session.py http://127.0.0.1:8000`, with the package taskflow_client on the path.
"""

from __future__ import annotations

import sys
from io import BytesIO
from typing import Any, TypeVar

from taskflow_client import AuthenticatedClient, Client
from taskflow_client.api.projects import add_member, create_project, export_tasks, import_tasks
from taskflow_client.api.signing_in import login, register
from taskflow_client.api.tasks import complete_task, create_task, delete_task, get_task, list_tasks
from taskflow_client.api.tokens import create_token
from taskflow_client.api.users import create_user
from taskflow_client.models import (
    DryRun,
    IssuedTokenResponse,
    Login,
    Problem,
    ProjectCreate,
    ProjectMemberCreate,
    ProjectMemberResponse,
    ProjectResponse,
    Registration,
    SignedInResponse,
    Status,
    TaskCreate,
    TaskListResponse,
    TaskResponse,
    TokenCreate,
    UserCreate,
    UserKind,
    UserResponse,
)
from taskflow_client.types import File

PASSWORD = "a long enough passphrase"
T = TypeVar("T")


def expect(response: Any, kind: type[T], what: str) -> T:
    """Print what was done and return the response. Exits if it has another type."""
    if not isinstance(response, kind):
        sys.exit(f"{what}: expected a {kind.__name__}, got {response!r}")
    print(f"{what}: {kind.__name__}")
    return response


def sign_up(base: str) -> AuthenticatedClient:
    """Register a tenant, log in as its administrator, and return that user's client."""
    anonymous = Client(base_url=base)
    registration = Registration(
        tenant_name="Initech",
        subdomain="initech",
        full_name="Ada",
        email="ada@initech.example",
        password=PASSWORD,
    )
    expect(register.sync(client=anonymous, body=registration), SignedInResponse, "Registered")
    credentials = Login(email="ada@initech.example", password=PASSWORD, tenant="initech")
    signed_in = expect(
        login.sync(client=anonymous, body=credentials), SignedInResponse, "Logged in"
    )
    assert signed_in.user.kind is UserKind.HUMAN
    assert signed_in.expires_at is not None
    return AuthenticatedClient(base_url=base, token=signed_in.token)


def make_project(ada: AuthenticatedClient) -> ProjectResponse:
    body = ProjectCreate(name="Website", key="WEB")
    return expect(create_project.sync(client=ada, body=body), ProjectResponse, "Made a project")


def make_agent(
    base: str, ada: AuthenticatedClient, project: ProjectResponse
) -> tuple[UserResponse, AuthenticatedClient]:
    """Create an agent that works in the project, and return it with the client of its token."""
    body = UserCreate(kind=UserKind.AGENT, handle="bot", responsible_id=project.owner.id)
    agent = expect(create_user.sync(client=ada, body=body), UserResponse, "Created an agent")
    assert agent.kind is UserKind.AGENT
    member = ProjectMemberCreate(user_id=agent.id)
    added = add_member.sync(project.key, client=ada, body=member)
    expect(added, ProjectMemberResponse, "Made it a member")
    token = create_token.sync(client=ada, body=TokenCreate(name="bot", user_id=agent.id))
    issued = expect(token, IssuedTokenResponse, "Issued a token for the agent")
    return agent, AuthenticatedClient(base_url=base, token=issued.token)


def work(bot: AuthenticatedClient, agent: UserResponse, project: ProjectResponse) -> None:
    """Create, list, try and complete a task as the agent."""
    body = TaskCreate(title="Write the page", project_id=project.id, assignee_id=agent.id)
    task = expect(create_task.sync(client=bot, body=body), TaskResponse, "Created a task")
    assert task.key == "WEB-1"
    assert task.created_by is not None
    assert task.created_by.id == agent.id
    page = list_tasks.sync(client=bot, assignee=["me"], status=[Status.TODO])
    assert [t.id for t in expect(page, TaskListResponse, "Listed the tasks").data] == [task.id]
    tried = expect(
        complete_task.sync(task.id, client=bot, dry_run=True), DryRun, "Tried to complete"
    )
    assert [event.verb for event in tried.events] == ["task.completed"]
    done = expect(complete_task.sync("WEB-1", client=bot), TaskResponse, "Completed the task")
    assert done.status is Status.DONE
    assert done.completed_at is not None
    tried = expect(create_task.sync(client=bot, body=body, dry_run=True), DryRun, "Tried another")
    assert tried.status == 201


def exchange_csv(bot: AuthenticatedClient, project: ProjectResponse) -> None:
    sent = File(payload=BytesIO(b"title\nFrom a file\n"))
    made = import_tasks.sync_detailed(project.id, client=bot, body=sent)
    assert made.status_code == 200, made.content
    exported = export_tasks.sync_detailed(project.id, client=bot)
    assert b"From a file" in exported.content
    print("Imported and exported CSV")


def be_refused(bot: AuthenticatedClient) -> None:
    problem = expect(get_task.sync("WEB-999", client=bot), Problem, "Asked for a missing task")
    assert (problem.status, problem.code) == (404, "not_found")
    deleted = delete_task.sync_detailed("WEB-1", client=bot)
    assert deleted.status_code == 204, deleted.content
    print("Deleted a task")


def main(base: str) -> None:
    ada = sign_up(base)
    project = make_project(ada)
    agent, bot = make_agent(base, ada, project)
    work(bot, agent, project)
    exchange_csv(bot, project)
    be_refused(bot)


if __name__ == "__main__":
    main(sys.argv[1])
