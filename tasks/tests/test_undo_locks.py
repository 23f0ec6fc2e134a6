"""An undo takes its locks in the order that docs/architecture.md gives, before it checks rules."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.actions.users import update_user
from accounts.models import User
from conftest import ApiClient, build_fixtures, token_of
from taskflow.tests.concurrency import call_during

ORDER = ["accounts_tenant", "accounts_user", "tasks_project", "tasks_tag", "tasks_task"]
R1 = {"X-Request-Id": "r-1"}
LOCK = re.compile(r'FROM "(\w+)".* FOR (?:NO KEY UPDATE|UPDATE|SHARE)', re.S)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks no rows")
@pytest.mark.parametrize("changes_user", [True, False])
def test_undo_locks_tenant_users_projects_tags_and_tasks_in_this_order(fixtures, as_, changes_user):
    boss = as_(fixtures.boss)
    boss.patch("/projects/APO", {"name": "New"}, headers=R1)
    boss.patch("/tasks/APO-1", {"tags": ["t"], "assignee_id": None}, headers=R1)
    if changes_user:
        boss.patch(f"/users/{fixtures.bob.user.pk}", {"full_name": "Robert"}, headers=R1)

    with CaptureQueriesContext(connection) as captured:
        assert boss.post("/undo", {"request_id": "r-1"}).status_code == 200

    locks = [match[1] for q in captured.captured_queries if (match := LOCK.search(q["sql"]))]
    assert [table for table in dict.fromkeys(locks) if table in ORDER] == ORDER


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks no rows")
def test_undo_locks_tasks_before_their_comments(fixtures, as_):
    bob = as_(fixtures.bob)
    bob.post("/comments", {"task": "APO-1", "body": "x"}, headers=R1)

    with CaptureQueriesContext(connection) as captured:
        assert bob.post("/undo", {"request_id": "r-1"}).status_code == 200

    locks = [match[1] for q in captured.captured_queries if (match := LOCK.search(q["sql"]))]
    assert locks.index("tasks_task") < locks.index("tasks_comment")


@pytest.mark.django_db(transaction=True)
def test_undo_assigns_no_task_to_a_user_who_is_being_deactivated():
    live = build_fixtures()
    boss = ApiClient(token_of(live.boss))
    boss.patch("/tasks/APO-1", {"assignee_id": None}, headers=R1)

    r = call_during(
        live.acme,
        lambda: update_user(live.boss, User.objects.get(pk=live.ada.user.pk), is_active=False),
        lambda: boss.post("/undo", {"request_id": "r-1"}),
    )

    assert (r.status_code, r.json()["errors"][0]["code"]) == (409, "deactivated")
    assert boss.get("/tasks/APO-1").json()["assignee"] is None
