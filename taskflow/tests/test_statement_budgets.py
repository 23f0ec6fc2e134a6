"""How many statements each operation may execute.

Every row of the table runs with few rows and with many, and has to take the same number of
statements. Those that open a unit of work or a savepoint are not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
from django.db import connection

from taskflow.tests.budgets import claims, others, projects, tasks
from taskflow.tests.budgets.setup import Request, Setup
from taskflow.tests.contract import api_document

ONCE = (1,)  # where the number of rows does not matter
UNMEASURED_TAGS = {
    "Signing in",
    "Second factor",
    "Sessions",
    "Tokens",
    "Users",
    "Invitations",
    "Webhooks",
    "Tenant",
}  # rare, and none of many rows
# These answer as another operation of the table does: PUT as PATCH, and so on.
SAME_AS_ANOTHER = {
    "put_task": "update_task",
    "put_project": "update_project",
    "put_tag": "update_tag",
    "put_view": "update_view",
    "put_comment": "update_comment",
    "put_page": "update_page",
    "put_preferences": "update_preferences",
    "unassign_task": "assign_task",
    "unpublish_page": "publish_page",
}


class Budget(NamedTuple):
    """`rows`: how many rows the request is repeated with. It costs the same for each."""

    operation: str
    prepare: Callable[[Setup, int], Request]
    rows: tuple[int, ...]
    sqlite: int
    postgresql: int


BUDGETS = [
    # In each: one statement for the token.
    Budget("get_task", tasks.get_task, (3, 5), 2, 2),  # response
    Budget("get_task", tasks.get_unchanged_task, ONCE, 2, 2),  # version
    Budget("list_tasks", tasks.list_tasks, (2, 5), 2, 2),  # page
    Budget("list_tasks", tasks.list_filtered_tasks_with_count, (2, 5), 3, 3),  # page, count
    Budget("list_tasks", tasks.list_tasks_of_an_assignee, (2, 5), 4, 4),  # assignee, page, count
    Budget("list_tasks", tasks.list_tasks_with_many_values, (2, 5), 5, 5),
    Budget("list_tasks", tasks.list_tasks_behind_a_cursor, (2, 5), 2, 2),  # page
    Budget("list_tasks", tasks.list_found_tasks, (2, 5), 2, 2),  # page
    Budget("get_task", tasks.get_task_with_comments, (3, 5), 3, 3),  # task, comments
    Budget("get_task_by_ref", tasks.get_task_by_ref, (3, 5), 3, 3),  # project, response
    Budget("count_tasks", tasks.count_tasks, (2, 5), 2, 2),  # groups
    Budget("create_task", tasks.create_task, ONCE, 7, 6),  # project, number, insert, event, count, response
    Budget("create_task", tasks.create_task_with_assignee, ONCE, 9, 8),  # user, membership
    Budget("create_task", tasks.create_task_with_new_tags, (2, 5), 11, 11),  # find, create, event; link
    Budget("create_task", tasks.create_task_with_tags, (2, 5), 9, 9),  # find, link
    Budget("update_task", tasks.update_task, ONCE, 6, 6),  # task, lock, update, event, response
    Budget("update_task", tasks.update_task_to_done, ONCE, 10, 10),  # open subtasks and blockers, count, blocked tasks
    Budget("update_task", tasks.update_task_without_change, ONCE, 4, 4),  # task, lock, response
    Budget("update_task", tasks.update_task_with_new_tags, (2, 5), 11, 11),
    Budget("update_task", tasks.update_task_to_fewer_tags, (2, 5), 9, 9),
    Budget("update_task", tasks.update_task_of_current_version, ONCE, 6, 6),
    Budget("update_task", tasks.update_task_of_older_version, ONCE, 7, 7),  # events since that version
    Budget("delete_task", tasks.delete_task, (3, 5), 10, 10),
    Budget("complete_task", tasks.complete_task, ONCE, 10, 10),
    Budget("reopen_task", tasks.reopen_task, ONCE, 7, 7),
    Budget("assign_task", tasks.assign_task, ONCE, 8, 8),
    Budget("move_task", tasks.move_task, (2, 5), 14, 14),
    Budget("upsert_task", tasks.upsert_new_task, (2, 3), 11, 10),
    Budget("upsert_task", tasks.upsert_task, (2, 3), 9, 9),
    Budget("bulk_edit_tasks", tasks.bulk_edit_tasks, (2, 5), 26, 26),
    Budget("list_task_events", tasks.list_task_events, (2, 5), 7, 7),
    Budget("list_events", projects.list_no_events, ONCE, 2, 2),  # last event
    # last event, page; tasks of comments, keys of tasks and projects; names of four types
    Budget("list_events", projects.list_events, (2, 5), 10, 10),
    # user, project, task; last event, page
    Budget("list_events", projects.list_events_with_filters, (2, 5), 6, 6),
    Budget("list_project_events", projects.list_project_events, (2, 5), 5, 5),
    Budget("list_projects", projects.list_projects, (2, 5), 2, 2),
    Budget("list_projects", projects.list_projects_with_count, (2, 5), 3, 3),
    Budget("get_project", projects.get_project, (2, 5), 2, 2),
    Budget("get_project", projects.get_unchanged_project, ONCE, 2, 2),
    Budget("create_project", projects.create_project, ONCE, 10, 10),
    Budget("create_project", projects.create_project_with_key, ONCE, 9, 9),
    Budget("create_project", projects.create_project_with_tasks, (2, 5), 19, 19),
    Budget("update_project", projects.update_project, ONCE, 7, 7),
    Budget("delete_project", projects.delete_project, (3, 5), 9, 9),
    Budget("complete_project_tasks", projects.complete_project_tasks, (3, 5), 8, 8),
    Budget("list_members", projects.list_members, (1, 5), 3, 3),
    Budget("add_member", projects.add_member, ONCE, 7, 7),
    Budget("update_member", projects.update_member, ONCE, 8, 8),
    Budget("remove_member", projects.remove_member, ONCE, 11, 11),  # lock of the user, open tasks
    Budget("export_tasks", projects.export_tasks, (2, 5), 5, 5),  # project; tasks, tags, blockers
    Budget("import_tasks", projects.import_tasks, (2, 5), 15, 15),  # lock of the parents
    Budget("import_tasks", projects.import_tasks_again, (2, 5), 13, 13),
    Budget("import_project", projects.import_project, (2, 5), 19, 19),
    Budget("list_notifications", others.list_notifications, (3, 5), 2, 2),
    Budget("get_notification", others.get_notification, ONCE, 2, 2),
    Budget("mark_notification_read", others.mark_as_read, ONCE, 4, 4),
    Budget("mark_notification_unread", others.mark_as_unread, ONCE, 4, 4),
    Budget("mark_notifications_read", others.mark_all_as_read, (3, 5), 2, 2),
    Budget("get_preferences", others.get_preferences, ONCE, 2, 2),
    Budget("update_preferences", others.change_preferences, ONCE, 5, 5),
    Budget("list_tags", others.list_tags, (3, 5), 2, 2),
    Budget("create_tag", others.create_tag, ONCE, 3, 3),
    Budget("create_tag", others.create_tag_with_idempotency_key, ONCE, 6, 6),
    Budget("create_tag", others.create_tag_again_with_its_key, ONCE, 4, 4),  # memberships
    Budget("update_tag", others.update_tag, (3, 5), 5, 5),
    Budget("delete_tag", others.delete_tag, (3, 5), 8, 8),
    Budget("list_views", others.list_views, (3, 5), 2, 2),
    Budget("get_view", others.get_view, ONCE, 2, 2),
    Budget("create_view", others.create_view, ONCE, 4, 4),  # the assignee of its filters
    Budget("update_view", others.update_view, ONCE, 6, 6),
    Budget("delete_view", others.delete_view, ONCE, 7, 7),
    Budget("list_tasks", others.list_tasks_of_a_view, (2, 5), 4, 4),  # view, its order, page
    Budget("list_comments", others.list_comments, (3, 5), 2, 2),
    Budget("get_comment", others.get_comment, ONCE, 2, 2),
    Budget("create_comment", others.create_comment, ONCE, 7, 7),
    Budget("update_comment", others.update_comment, ONCE, 9, 9),
    Budget("delete_comment", others.delete_comment, ONCE, 7, 7),
    # user, selection, last claims, insert; task, claim of the task, event, counts; response
    Budget("create_claims", claims.claim_one_task, ONCE, 10, 10),
    Budget("create_claims", claims.claim_tasks, (2, 5), 11, 11),
    Budget("create_claims", claims.claim_commented_subtasks, (2, 5), 13, 13),
    Budget("list_claims", claims.list_claims, (2, 5), 2, 2),
    Budget("get_claim", claims.get_claim, ONCE, 2, 2),
    Budget("extend_claim", claims.extend_claim, ONCE, 5, 5),
    Budget("complete_claim", claims.complete_claim, ONCE, 13, 13),
    Budget("complete_claim", claims.release_claim, ONCE, 10, 10),
    Budget("request_cancellation", claims.request_cancellation, ONCE, 9, 9),
    Budget("break_claim", claims.break_claim, ONCE, 11, 11),
    Budget("list_pages", others.list_pages, (3, 5), 2, 2),
    Budget("get_page", others.get_page, ONCE, 2, 2),
    Budget("create_page", others.create_page, ONCE, 7, 7),  # project, owner, membership, insert, event, response
    Budget("update_page", others.update_page, ONCE, 7, 7),
    Budget("delete_page", others.delete_page, ONCE, 6, 6),
    Budget("publish_page", others.publish_page, ONCE, 7, 7),
    Budget("list_trash", others.list_trash, (2, 5), 5, 5),
    Budget("restore", others.restore, (2, 5), 10, 10),
    Budget("purge", others.purge, (2, 5), 27, 27),
    Budget("search", others.search, (1, 5), 2, 2),  # tasks, comments and pages
    Budget("undo", others.undo, (3, 8), 39, 39),
    Budget("plan", others.plan_task_change, ONCE, 6, 6),
    Budget("offboard_user", others.offboard_user, (2, 5), 40, 40),
    Budget("get_member", projects.get_member, ONCE, 2, 2),
    Budget("get_tag", others.get_tag, ONCE, 2, 2),
    Budget("get_index", others.get_index, ONCE, 1, 1),
    Budget("get_me", others.get_me, ONCE, 1, 1),
    Budget("update_me", others.update_me, ONCE, 4, 4),
]  # fmt: skip


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda budget: budget.prepare.__name__)
def test_request_takes_the_statements_of_its_budget(fixtures, assert_statements, budget):
    setup = Setup(fixtures)
    for rows in budget.rows:
        request = budget.prepare(setup, rows)
        with assert_statements(getattr(budget, connection.vendor)):
            response = request()
        assert response.status_code in (200, 201, 204, 304), response.content


def test_every_operation_of_frequent_requests_has_a_budget():
    operations = {
        operation["operationId"]
        for methods in api_document()["paths"].values()
        for operation in methods.values()
        if not UNMEASURED_TAGS & set(operation["tags"])
    }
    measured = {budget.operation for budget in BUDGETS}

    assert operations - measured == SAME_AS_ANOTHER.keys() | {"change_password"}
    assert set(SAME_AS_ANOTHER.values()) <= measured
