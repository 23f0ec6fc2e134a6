"""Random changes in random order: after undoing all, the tenant is in its first state."""

from __future__ import annotations

import io
import json
from collections import defaultdict

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from accounts.models import Tenant, User
from conftest import PROOF, ApiClient, token_of
from taskflow.audit.models import Event
from taskflow.audit.resource_types import resource_types
from taskflow.tenancy import inside
from tasks.actions.members import add_member
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task, update_task
from tasks.export.exporting import export_tenant
from tasks.management.commands.verify import find_faults
from tasks.models import Comment, Page, Project, ProjectMember, Tag, Task
from tasks.schemas.trash import TrashKind

# Columns that every change sets, former numbers, and rows that an undo does not remove.
COUNTED = {"version", "updated_at", "created_at", "commented_at", "last_number"}
NOT_COMPARED = {"audit.event", "accounts.apitoken", "tasks.formernumber"}
EXAMPLES = 500 if PROOF else 15
number = st.integers(0, 7)
text = st.sampled_from(["a", "b", "ü", "c d"])
TASK = st.fixed_dictionaries(
    {},
    optional={
        "title": text,
        "description": text,
        "status": st.sampled_from(["todo", "in_progress", "done"]),
        "priority": st.sampled_from(["low", "medium", "high"]),
        "tags": st.lists(st.sampled_from(["x", "y", "z"]), max_size=2),
        "due_on": st.sampled_from([None, "2027-01-01"]),
        "due_date": st.sampled_from([None, "2027-01-01T10:00:00Z"]),
        "links": st.sampled_from([[], [{"url": "https://a.example", "title": "A"}]]),
        "metadata": st.sampled_from([{}, {"a": 1}, {"a": True}]),
    },
)


def snapshot(tenant):
    """Return the visible rows of the tenant, from its export."""
    file = io.BytesIO()
    export_tenant(Tenant.objects.get(pk=tenant.pk), file, lambda rows: None)
    head, *lines, _tail = (json.loads(line) for line in file.getvalue().splitlines())
    rows = defaultdict(dict)
    for line in lines:
        rows[line["model"]][line["row"]["id"]] = line["row"]
    gone = {
        (model, pk)
        for model, found in rows.items()
        for pk, row in found.items()
        if row.get("deleted_at") or row.get("is_active") is False
    }
    gone |= {("tasks.task", pk) for pk, row in rows["tasks.task"].items() if ("tasks.project", row["project_id"]) in gone}  # fmt: skip
    contents = {"tenant": {k: v for k, v in head["tenant"].items() if k not in COUNTED}}
    for model in rows.keys() - NOT_COMPARED:
        is_link = model in ("tasks.tasktag", "tasks.taskblocker")
        contents[model] = sorted(
            json.dumps({k: v for k, v in row.items() if k not in COUNTED | ({"id"} if is_link else set())}, sort_keys=True)
            for pk, row in rows[model].items()
            if (model, pk) not in gone
            and ("tasks.project", row.get("project_id")) not in gone
            and not {("tasks.task", row.get("task_id")), ("tasks.task", row.get("blocker_id"))} & gone
        )  # fmt: skip
    return {model: found for model, found in contents.items() if found}


class Everything(RuleBasedStateMachine):
    fixtures = None
    users = ()  # ids, of those whose tokens these are
    force = "true"  # sent with the requests that take it

    def __init__(self):
        super().__init__()
        self.outer = transaction.atomic()
        self.outer.__enter__()
        self.before = snapshot(self.fixtures.acme)
        with inside(self.fixtures.acme):
            self.start = Event.objects.latest("pk").pk
        self.sent = 0
        self.senders = {}  # by the number of the request

    def teardown(self):
        try:
            self.assert_no_faults()
            self.undo_all()
            self.assert_no_faults()
            assert snapshot(self.fixtures.acme) == self.before
        finally:
            transaction.set_rollback(True)
            self.outer.__exit__(None, None, None)

    # ---- the fixtures so far ----

    def ids(self, model):
        with inside(self.fixtures.acme):
            return list(model._default_manager.order_by("pk").values_list("pk", flat=True))

    def pick(self, model, n):
        found = self.ids(model)
        return found[n % len(found)] if found else 0

    def call(self, who, method, path, body=None):
        self.sent += 1
        self.senders[self.sent] = self.users[who % len(self.users)]
        client = ApiClient(self.tokens[who % len(self.tokens)])
        headers = {"X-Request-Id": f"s-{self.sent}"}
        args = (path,) if body is None or method == "delete" else (path, body)
        r = getattr(client, method)(*args, headers=headers)
        assert r.status_code < 500, r.content
        self.assert_parents()
        return r

    def assert_no_faults(self):
        with inside(self.fixtures.acme):
            assert list(find_faults()) == []  # `manage.py verify`

    def assert_parents(self):
        """No open task is below a done parent, unless `force` was sent."""
        with inside(self.fixtures.acme):
            rows = Task.objects.exclude(status="done").filter(parent__status="done")
            assert self.force == "true" or not rows.exists(), list(rows.values("pk", "parent"))

    def chosen(self):
        with inside(self.fixtures.acme):
            return list(
                Event.objects.filter(pk__gt=self.start).order_by("pk").values_list("pk", flat=True)
            )

    def undo_all(self):
        """Undo all changes at once, or one request after another."""
        boss = ApiClient(self.boss)
        if self.sent % 2:
            ids = self.chosen()
            if ids:
                r = boss.post("/undo", {"event_ids": ids})
                assert r.status_code == 200, r.content
                self.assert_parents()
            return
        for n in range(self.sent, 0, -1):
            body = {"request_id": f"s-{n}", "actor": self.senders[n]}
            r = boss.post("/undo", body, headers={"X-Request-Id": f"u-{n}"})
            assert r.status_code in (200, 404), r.content
            self.assert_parents()

    # ---- tasks ----

    @rule(who=number, project=number, parent=st.none() | number, body=TASK)
    def make_task(self, who, project, parent, body):
        body = {"title": "t"} | body | {"project_id": self.pick(Project, project)}
        if parent is not None:
            body["parent_id"] = self.pick(Task, parent)
        self.call(who, "post", "/tasks", body)

    @rule(who=number, task=number, body=TASK)
    def change_task(self, who, task, body):
        self.call(who, "patch", f"/tasks/{self.pick(Task, task)}?force={self.force}", body)

    @rule(who=number, task=number, others=st.lists(number, max_size=2), parent=st.none() | number)
    def tie_task(self, who, task, others, parent):
        body = {"blocked_by": [self.pick(Task, n) for n in others]}
        body["parent_id"] = None if parent is None else self.pick(Task, parent)
        self.call(who, "patch", f"/tasks/{self.pick(Task, task)}", body)

    @rule(who=number, task=number, user=number)
    def assign(self, who, task, user):
        body = {"assignee_id": self.pick(User, user)}
        self.call(who, "post", f"/tasks/{self.pick(Task, task)}/assignment", body)

    @rule(who=number, task=number, project=number)
    def move(self, who, task, project):
        body = {"project_id": self.pick(Project, project)}
        self.call(who, "post", f"/tasks/{self.pick(Task, task)}/move", body)

    @rule(who=number, task=number, verb=st.sampled_from(["post", "delete"]))
    def complete_or_reopen(self, who, task, verb):
        self.call(who, verb, f"/tasks/{self.pick(Task, task)}/completion?force={self.force}")

    @rule(who=number, task=number)
    def delete_task(self, who, task):
        self.call(who, "delete", f"/tasks/{self.pick(Task, task)}")

    @rule(who=number, kind=st.sampled_from(list(TrashKind)), n=number)
    def restore(self, who, kind, n):
        model = resource_types()[kind].model
        with inside(self.fixtures.acme):
            gone = model.everything.filter(deleted_at__isnull=False).order_by("pk")
            ids = list(gone.values_list("pk", flat=True))
        if ids:
            self.call(who, "post", f"/trash/{kind}/{ids[n % len(ids)]}/restoration")

    @rule(who=number, tasks=st.lists(number, min_size=1, max_size=3), body=TASK, verb=st.sampled_from(["complete", "tag", "untag", "delete", "reopen"]))  # fmt: skip
    def bulk(self, who, tasks, body, verb):
        data = {"tag": {"tags": ["x", "w"]}, "untag": {"tags": ["x"]}}.get(verb)
        operations = []
        for n in tasks:
            operations.append({"op": "update", "id": self.pick(Task, n), "data": body})
            operations.append({"op": verb, "id": self.pick(Task, n), **({"data": data} if data else {})})  # fmt: skip
        operations.append({"op": "create", "data": {"title": "n", "project_id": self.pick(Project, 0)}})  # fmt: skip
        self.call(who, "post", "/tasks/bulk", {"operations": operations, "on_error": "skip"})

    @rule(who=number, ref=st.sampled_from(["r1", "r2"]), body=TASK)
    def upsert(self, who, ref, body):
        self.call(who, "put", f"/projects/APO/tasks/by-ref/{ref}", {"title": "u"} | body)

    # ---- the rest ----

    @rule(who=number, name=text)
    def make_project(self, who, name):
        body = {
            "name": name,
            "tasks": [{"title": "1", "subtasks": [{"title": "2"}], "tags": ["x"]}],
        }
        self.call(who, "post", "/projects", body)

    @rule(who=number, n=number, name=text, status=st.sampled_from(["active", "on_hold"]), owner=st.none() | number)  # fmt: skip
    def change_project(self, who, n, name, status, owner):
        body = {"name": name, "status": status}
        if owner is not None:
            body["owner_id"] = self.pick(User, owner)
        self.call(who, "patch", f"/projects/{self.pick(Project, n)}", body)

    @rule(who=number, n=number, verb=st.sampled_from(["delete", "post"]))
    def delete_or_complete_project(self, who, n, verb):
        path = f"/projects/{self.pick(Project, n)}" + f"/completion?force={self.force}" * (
            verb == "post"
        )
        self.call(who, verb, path)

    @rule(who=number, n=number, user=number, role=st.sampled_from(["owner", "admin", "member"]))
    def let_in(self, who, n, user, role):
        body = {"user_id": self.pick(User, user), "role": role}
        self.call(who, "post", f"/projects/{self.pick(Project, n)}/members", body)

    @rule(who=number, n=number, role=st.sampled_from(["owner", "admin", "member"]))
    def change_role(self, who, n, role):
        self.call(who, "patch", f"/members/{self.pick(ProjectMember, n)}", {"role": role})

    @rule(who=number, n=number)
    def let_out(self, who, n):
        self.call(who, "delete", f"/members/{self.pick(ProjectMember, n)}")

    @rule(who=number, n=st.none() | number, name=st.sampled_from(["x", "y", "z", "q"]))
    def make_or_rename_tag(self, who, n, name):
        if n is None:
            self.call(who, "post", "/tags", {"name": name})
        else:
            self.call(0, "patch", f"/tags/{self.pick(Tag, n)}", {"name": name, "color": "#000000"})

    @rule(n=number)
    def delete_tag(self, n):
        self.call(0, "delete", f"/tags/{self.pick(Tag, n)}")

    @rule(who=number, n=number, verb=st.sampled_from(["post", "patch", "delete"]), body=text)
    def comment(self, who, n, verb, body):
        if verb == "post":
            self.call(who, "post", "/comments", {"task_id": self.pick(Task, n), "body": body})
        elif verb == "patch":  # the user who undoes all: nobody else may restore the text
            self.call(0, verb, f"/comments/{self.pick(Comment, n)}", {"body": body})
        else:
            self.call(who, verb, f"/comments/{self.pick(Comment, n)}")

    @rule(who=number, n=number, verb=st.sampled_from(["make", "patch", "delete", "show", "hide"]), title=text)  # fmt: skip
    def page(self, who, n, verb, title):
        path = f"/pages/{self.pick(Page, n)}"
        if verb == "make":
            self.call(who, "post", "/pages", {"project_id": self.pick(Project, n), "title": title})
        elif verb in ("show", "hide"):
            self.call(who, "post" if verb == "show" else "delete", path + "/publication")
        else:
            self.call(who, verb, path, {"title": title})

    @rule(n=number, body=st.sampled_from([{"full_name": "N"}, {"is_active": False}, {"is_staff": True}, {"handle": "other"}]))  # fmt: skip
    def change_user(self, n, body):
        if self.pick(User, n) != self.fixtures.boss.user.pk:
            self.call(0, "patch", f"/users/{self.pick(User, n)}", body)

    @rule(handle=st.sampled_from(["new", "newer"]))
    def make_user(self, handle):
        self.call(0, "post", "/users", {"kind": "agent", "handle": handle})

    @rule(n=number, new_owner=st.none() | number)
    def offboard(self, n, new_owner):
        body = {} if new_owner is None else {"hand_over_to": self.pick(User, new_owner)}
        if self.pick(User, n) != self.fixtures.boss.user.pk:
            self.call(0, "post", f"/users/{self.pick(User, n)}/offboarding", body)

    @rule(name=text)
    def change_tenant(self, name):
        self.call(0, "patch", "/tenant", {"name": name})

    @precondition(lambda self: self.sent)
    @rule(n=number)
    def undo_one(self, n):
        """Undo one request in between, skipping conflicts; it may itself be an undo."""
        n = 1 + n % self.sent
        body = {"request_id": f"s-{n}", "actor": self.senders[n], "on_conflict": "skip"}
        self.call(0, "post", "/undo", body)


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("force", ["true", "false"])
def test_undoing_all_changes_restores_the_first_state(fixtures, force):
    """Without `force`, no open task is below a done parent after any request and any undo."""
    with inside(fixtures.acme):
        zeus = create_project(fixtures.ada, name="Zeus", key="ZEU")
        add_member(fixtures.ada, zeus, user=fixtures.bob.user)
        other = create_task(fixtures.ada, fixtures.apollo, title="other", tags=["x"])
        create_task(fixtures.bob, fixtures.apollo, title="child", parent=other, tags=["x", "y"])
        update_task(fixtures.ada, fixtures.task, blocked_by=[other])
    actors = (fixtures.boss, fixtures.ada, fixtures.bob)
    tokens = [token_of(actor) for actor in actors]
    users = [str(actor.user.pk) for actor in actors]
    given = {
        "fixtures": fixtures,
        "tokens": tokens,
        "users": users,
        "boss": tokens[0],
        "force": force,
    }
    machine = type("Machine", (Everything,), given)

    run_state_machine_as_test(machine, settings=HOW)

    print(
        f"\n{connection.vendor}: {EXAMPLES} histories of up to {HOW.stateful_step_count} requests"
    )


HOW = settings(
    phases=[Phase.generate],
    max_examples=EXAMPLES,
    stateful_step_count=15,
    deadline=None,
    database=None,
    derandomize=not PROOF,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
