"""What a client does first, with the client that openapi-python-client writes.

Run by python_client.py: `python session.py http://127.0.0.1:8000`, with taskflow_client on the path.
"""

from __future__ import annotations

import sys
from io import BytesIO

from taskflow_client import AuthenticatedClient, Client
from taskflow_client.api.projects import export_tasks, import_tasks
from taskflow_client.api.search import search
from taskflow_client.api.signing_in import login
from taskflow_client.api.tasks import (
    bulk_edit_tasks,
    complete_task,
    create_task,
    delete_task,
    get_task,
    list_tasks,
    update_task,
)
from taskflow_client.models import (
    AssignOperation,
    AssignOperationOp,
    BulkAssignment,
    CompleteOperation,
    CompleteOperationOp,
    Login,
    Problem,
    SearchKind,
    SearchListResponse,
    SignedInResponse,
    Status,
    TaskBulk,
    TaskBulkResponse,
    TaskCreate,
    TaskListResponse,
    TaskResponse,
    TaskUpdate,
    TaskWhere,
    UserKind,
)
from taskflow_client.types import File

TITLE = "Write a client in Python"


def sign_in(base: str) -> AuthenticatedClient:
    body = Login(email="ada@acme.example", password="taskflow-demo-2026")
    signed_in = login.sync(client=Client(base_url=base), body=body)
    assert isinstance(signed_in, SignedInResponse), signed_in
    assert signed_in.user.kind is UserKind.HUMAN
    return AuthenticatedClient(base_url=base, token=signed_in.token)


def list_open_tasks(client: AuthenticatedClient) -> None:
    """Use filters: one that is repeated, one by key, and an order."""
    statuses = [Status.TODO, Status.IN_PROGRESS]
    page = list_tasks.sync(
        client=client, project=["WEB"], status=statuses, sort="-priority", limit=2
    )
    assert isinstance(page, TaskListResponse), page
    assert len(page.data) == 2
    assert page.has_more
    assert not any(task.completed for task in page.data)


def create_once(client: AuthenticatedClient) -> tuple[TaskResponse, str]:
    """Create with a key and `me`, twice with one Idempotency-Key. Return the task and its ETag."""
    body = TaskCreate(title=TITLE, project="WEB", assignee="me", tags=["docs"])
    first, again = (
        create_task.sync_detailed(client=client, body=body, idempotency_key="python")
        for _ in range(2)
    )
    assert isinstance(first.parsed, TaskResponse), first
    assert isinstance(again.parsed, TaskResponse), again
    assert again.parsed.id == first.parsed.id
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.parsed.assignee is not None
    assert first.parsed.assignee.handle == "ada"
    return first.parsed, first.headers["ETag"]


def update_and_conflict(client: AuthenticatedClient, task: TaskResponse, etag: str) -> None:
    """Update the version that was read. A second change of that version conflicts."""
    updated = update_task.sync(
        task.key, client=client, body=TaskUpdate(title=f"{TITLE} 3"), if_match=etag
    )
    assert isinstance(updated, TaskResponse), updated
    conflict = update_task.sync(
        task.key, client=client, body=TaskUpdate(title="Other"), if_match=etag
    )
    assert isinstance(conflict, Problem), conflict
    assert conflict.status == 412
    assert conflict.errors
    assert conflict.errors[0].theirs == f"{TITLE} 3"


def try_and_change_many(client: AuthenticatedClient, task: TaskResponse) -> None:
    """Try a change without making it, then carry out several operations at once."""
    tried = complete_task.sync(task.id, client=client, dry_run=True)
    assert isinstance(tried, TaskResponse), tried
    assert tried.status == Status.DONE
    assign = AssignOperation(
        op=AssignOperationOp.ASSIGN, id=task.key, data=BulkAssignment(assignee="@scout")
    )
    complete = CompleteOperation(op=CompleteOperationOp.COMPLETE, where=TaskWhere(q=TITLE))
    done = bulk_edit_tasks.sync(client=client, body=TaskBulk(operations=[assign, complete]))
    assert isinstance(done, TaskBulkResponse), done
    assert done.skipped == 0


def exchange_csv(client: AuthenticatedClient) -> None:
    sent = File(payload=BytesIO(b"title\nFrom a file\n"))
    made = import_tasks.sync_detailed("WEB", client=client, body=sent)
    assert made.status_code == 200, made.content
    exported = export_tasks.sync_detailed("WEB", client=client, q="From a file")
    assert b"From a file" in exported.content


def search_delete_and_be_refused(client: AuthenticatedClient, task: TaskResponse) -> None:
    found = search.sync(client=client, q=TITLE)
    assert isinstance(found, SearchListResponse), found
    assert (SearchKind.TASK, task.id) in [(result.kind, result.id) for result in found.data]
    assert delete_task.sync_detailed(task.id, client=client).status_code == 204
    gone = get_task.sync(task.id, client=client)
    assert isinstance(gone, Problem), gone
    assert gone.code == "not_found"
    refused = create_task.sync(client=client, body=TaskCreate(title="x", project="NONE"))
    assert isinstance(refused, Problem), refused
    assert refused.errors
    assert refused.errors[0].pointer == "#/project"


def main(base: str) -> None:
    client = sign_in(base)
    list_open_tasks(client)
    task, etag = create_once(client)
    update_and_conflict(client, task, etag)
    try_and_change_many(client, task)
    exchange_csv(client)
    search_delete_and_be_refused(client, task)
    print("openapi-python-client: the program has run")


if __name__ == "__main__":
    main(sys.argv[1])
