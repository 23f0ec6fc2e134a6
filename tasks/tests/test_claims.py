"""Claims: taking, extending and finishing the lease of a task."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts.tests.factories import AgentFactory
from conftest import ApiClient, token_of
from taskflow.audit.actor import Actor
from taskflow.audit.models import Event
from taskflow.http.waiting import CAN_WAIT
from taskflow.tenancy import inside
from tasks.models import Claim, Comment, Task
from tasks.tests.factories import MemberFactory, ProjectFactory, TaskFactory


@pytest.fixture
def open_task(fixtures):
    with inside(fixtures.acme):
        return TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title="Free")


@pytest.fixture
def bot(fixtures, as_):
    return as_(fixtures.bot)


@pytest.fixture
def other_bot(fixtures, as_):
    """Another agent that is a member of Apollo."""
    with inside(fixtures.acme):
        user = AgentFactory(actor=fixtures.boss, handle="bot2", responsible=fixtures.ada.user)
        MemberFactory(actor=fixtures.ada, project=fixtures.apollo, user=user)
    return as_(Actor(user, fixtures.acme))


def claim(client, **body):
    r = client.post("/claims", body)
    assert r.status_code == 201, r.content
    return r.json()["data"][0]


def finish(client, granted, outcome="completed", **body):
    return client.post(f"/claims/{granted['id']}/completion", {"outcome": outcome, **body})


def expire(fixtures, granted):
    """Set the clock of the claim back, so that it is over by the clock of the database."""
    with inside(fixtures.acme):
        stored = Claim.objects.get(pk=granted["id"])
        past = stored.created_at - timedelta(hours=1)
        Claim.objects.filter(pk=stored.pk).update(expires_at=past)


def stored(fixtures, task):
    with inside(fixtures.acme):
        row = Task.everything.select_related("assignee").get(pk=task.pk)
        return row.status, row.assignee and row.assignee.handle


def verbs(fixtures, task):
    with inside(fixtures.acme):
        events = Event.objects.filter(subject_type="task", subject_id=task.pk).order_by("pk")
        return [event.verb for event in events]


# ---- claiming -----------------------------------------------------------------------------------


def test_claim_of_the_next_task_sets_it_in_progress(fixtures, bot, open_task):
    granted = claim(bot, worker="host7/3")

    assert (granted["fence"], granted["attempt"]) == (1, 1)
    task = granted["task"]
    assert (task["id"], task["status"]) == (open_task.pk, "in_progress")
    assert task["assignee"]["handle"] == "bot"
    assert verbs(fixtures, open_task) == ["created", "claimed"]


def test_claim_contains_what_a_worker_has_to_know(fixtures, bot, open_task):
    with inside(fixtures.acme):
        part = TaskFactory(
            actor=fixtures.ada, project=fixtures.apollo, title="Part", parent=open_task
        )
    bot.post("/comments", {"task": part.pk, "body": "Mind the gap."})
    first = claim(bot, where={"parent": [str(open_task.pk)]}, worker="w1")
    bot.patch(f"/claims/{first['id']}", {"note": "Half done.", "progress": 50})
    finish(bot, first, "released")

    context = claim(bot, task=part.pk)["context"]

    assert context["project"]["name"] == "Apollo"
    assert context["parent"]["title"] == "Free"
    assert [c["body"] for c in context["comments"]] == ["Mind the gap."]
    earlier = context["earlier_claim"]
    assert (earlier["worker"], earlier["end"], earlier["note"]) == ("w1", "released", "Half done.")


def test_second_claim_finds_no_task(bot, open_task):
    claim(bot)

    assert bot.post("/claims", {}).status_code == 204


def test_tasks_are_claimed_by_priority_then_due_time_then_id(fixtures, bot):
    with inside(fixtures.acme):
        for title, values in {
            "4": {"priority": "low", "due_on": "2026-01-01"},
            "3": {},
            "2": {"due_on": "2027-02-01"},
            "1": {"due_on": "2027-01-01"},
            "0": {"priority": "high"},
        }.items():
            TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title=title, **values)

    data = bot.post("/claims", {"count": 10}).json()["data"]

    assert [granted["task"]["title"] for granted in data] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    "values",
    [
        {"status": "done"},
        {"assignee": "ada"},
        {"blocked_by": "open"},
    ],
)
def test_task_that_is_not_ready_or_not_free_is_not_claimed(fixtures, bot, values):
    with inside(fixtures.acme):
        values = dict(values)
        if "assignee" in values:
            values["assignee"] = fixtures.ada.user
        if "blocked_by" in values:
            values["blocked_by"] = [fixtures.task]
        task = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, **values)

    assert bot.post("/claims", {}).status_code == 204
    refused = bot.post("/claims", {"task": task.pk})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_claimable")


def test_task_of_a_project_on_hold_is_not_claimed(fixtures, as_, bot, open_task):
    as_(fixtures.ada).patch("/projects/APO", {"status": "on_hold"})

    assert bot.post("/claims", {}).status_code == 204


def test_task_of_another_project_is_neither_claimed_nor_named(fixtures, as_, bot):
    with inside(fixtures.acme):
        second_project = ProjectFactory(actor=fixtures.ada, name="Second", key="SEC")
        task = TaskFactory(actor=fixtures.ada, project=second_project)

    assert bot.post("/claims", {}).status_code == 204
    assert bot.post("/claims", {"task": task.pk}).status_code == 422
    assert as_(fixtures.mallory).post("/claims", {"task": task.pk}).status_code == 422


def test_bound_token_claims_in_its_projects_only(fixtures, open_task):
    with inside(fixtures.acme):
        other = ProjectFactory(actor=fixtures.ada, name="Other", key="OTH")
        task = TaskFactory(actor=fixtures.ada, project=other)
    bound = ApiClient(token_of(fixtures.ada, project_ids=[other.pk]))

    data = bound.post("/claims", {"count": 10}).json()["data"]

    assert [granted["task"]["id"] for granted in data] == [task.pk]


@pytest.mark.parametrize(
    "body",
    [
        {"where": {"colour": ["red"]}},
        {"where": {"status": []}},
        {"where": {"tag_not": ["misspelled"]}},
        {"task": "APO-1", "where": {"status": ["todo"]}},
        {"task": "APO-1", "count": 2},
        {"ttl_seconds": 4},
        {"count": 11},
        {"wait_seconds": 26},
    ],
)
def test_body_that_is_not_understood_is_refused(bot, body):
    assert bot.post("/claims", body).status_code == 422


def test_assigned_task_of_the_actor_is_claimed(fixtures, bot):
    with inside(fixtures.acme):
        task = TaskFactory(
            actor=fixtures.ada,
            project=fixtures.apollo,
            assignee=fixtures.bot.user,
            status="in_progress",
        )

    granted = claim(bot)

    assert granted["task"]["id"] == task.pk
    assert verbs(fixtures, task) == ["created", "claimed"]
    finish(bot, granted, "released")
    assert stored(fixtures, task) == ("in_progress", "bot")


def test_claimed_task_names_its_holder(fixtures, bot, other_bot, open_task):
    claim(bot, worker="host7/3")

    r = other_bot.post("/claims", {"task": open_task.pk})

    error = r.json()["errors"][0]
    assert (r.status_code, r.json()["code"]) == (409, "claimed")
    assert (error["holder"], error["worker"]) == ("@bot", "host7/3")
    assert error["since"] < error["expires_at"]


def test_dry_run_claims_nothing(fixtures, bot, open_task):
    assert bot.post("/claims?dry_run=true", {}).status_code == 201

    assert stored(fixtures, open_task) == ("todo", None)


def test_repeated_request_with_its_key_gets_the_same_claim(bot, open_task):
    key = {"Idempotency-Key": "k"}

    first, second = (bot.post("/claims", {}, headers=key) for _ in range(2))

    assert first.json() == second.json()


def test_claim_can_be_planned(bot, open_task):
    plan = bot.plan("POST", "/claims", {"where": {"project": ["APO"]}})

    assert (plan["status"], plan["events"][0]["verb"]) == (201, "task.claimed")


# ---- heartbeats ---------------------------------------------------------------------------------


def test_heartbeat_extends_the_claim(fixtures, as_, bot, open_task):
    granted = claim(bot, ttl_seconds=5)

    r = bot.patch(f"/claims/{granted['id']}", {"ttl_seconds": 600, "progress": 40, "note": "x"})

    assert r.json()["expires_at"] > granted["expires_at"]
    assert r.json()["cancel_requested"] is False
    shown = as_(fixtures.ada).get(f"/claims/{granted['id']}").json()
    assert (shown["progress"], shown["note"], shown["ttl_seconds"]) == (40, "x", 600)


def test_worker_learns_that_it_is_asked_to_stop(fixtures, as_, bot, open_task):
    granted = claim(bot)

    asked = as_(fixtures.bob).post(f"/claims/{granted['id']}/cancellation")

    assert asked.json()["cancel_requested_at"]
    assert bot.patch(f"/claims/{granted['id']}", {}).json()["cancel_requested"] is True
    assert verbs(fixtures, open_task)[-1] == "claim_cancel_requested"


@pytest.mark.parametrize("write", ["heartbeat", "completion", "patch", "comment"])
def test_expired_claim_is_lost_even_if_nobody_has_taken_over(fixtures, bot, open_task, write):
    granted = claim(bot)
    expire(fixtures, granted)
    header = {"Claim": str(granted["id"])}

    r = {
        "heartbeat": lambda: bot.patch(f"/claims/{granted['id']}", {}),
        "completion": lambda: finish(bot, granted),
        "patch": lambda: bot.patch(f"/tasks/{open_task.pk}", {"title": "x"}, headers=header),
        "comment": lambda: bot.post(
            "/comments", {"task": open_task.pk, "body": "x"}, headers=header
        ),
    }[write]()

    assert (r.status_code, r.json()["code"]) == (409, "claim_lost")


# ---- finishing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["completed", "cancelled"])
def test_finished_task_is_done_with_the_outcome(fixtures, bot, open_task, outcome):
    granted = claim(bot)
    body = {"comment": "Done.", "result": {"pr": 17}}

    first = finish(bot, granted, outcome, **body)
    second = finish(bot, granted, outcome, **body)

    assert first.status_code == 200, first.content
    assert first.json() == second.json()
    task = bot.get(f"/tasks/{open_task.pk}").json()
    assert (task["status"], task["outcome"], task["metadata"]) == ("done", outcome, {"pr": 17})
    with inside(fixtures.acme):
        assert Comment.objects.filter(task=open_task).count() == 1
    assert verbs(fixtures, open_task) == ["created", "claimed", outcome]


def test_finishing_again_with_another_outcome_is_refused(bot, open_task):
    granted = claim(bot)
    finish(bot, granted)

    assert finish(bot, granted, "failed").json()["code"] == "claim_lost"


def test_finishing_is_repeatable_after_the_task_was_deleted(fixtures, as_, bot, open_task):
    granted = claim(bot)
    first = finish(bot, granted)
    as_(fixtures.ada).delete(f"/tasks/{open_task.pk}")

    assert finish(bot, granted).json() == first.json()


@pytest.mark.parametrize("outcome", ["failed", "released"])
def test_task_is_given_back_with_its_former_assignee(fixtures, bot, open_task, outcome):
    granted = claim(bot)

    assert finish(bot, granted, outcome).status_code == 200

    assert stored(fixtures, open_task) == ("todo", None)
    assert verbs(fixtures, open_task)[-1] == f"claim_{outcome}"
    again = claim(bot)
    assert (again["fence"], again["attempt"]) == (2, 2)


def test_task_that_needs_input_goes_to_the_owner_of_the_project(fixtures, bot, open_task):
    finish(bot, claim(bot), "needs_input", comment="Which colour?")

    assert stored(fixtures, open_task) == ("todo", "ada")
    assert bot.post("/claims", {}).status_code == 204


def test_task_that_needs_input_goes_to_the_user_that_is_named(fixtures, bot, open_task):
    granted = claim(bot)

    assert finish(bot, granted, "needs_input", assign_to="@eve").status_code == 422
    assert finish(bot, granted, "released", assign_to="@bob").status_code == 422
    assert finish(bot, granted, "needs_input", assign_to="@bob").status_code == 200

    assert stored(fixtures, open_task) == ("todo", "bob")


def test_task_with_open_subtasks_is_not_finished(fixtures, bot, open_task):
    granted = claim(bot)
    with inside(fixtures.acme):
        TaskFactory(actor=fixtures.ada, project=fixtures.apollo, parent=open_task)

    assert finish(bot, granted).json()["code"] == "open_work"
    assert bot.patch(f"/claims/{granted['id']}", {}).status_code == 200


def test_completion_of_the_task_by_its_holder_ends_the_claim(fixtures, bot, open_task):
    granted = claim(bot)

    r = bot.post(f"/tasks/{open_task.pk}/completion", None, headers={"Claim": str(granted["id"])})

    assert r.status_code == 200, r.content
    assert bot.get(f"/claims/{granted['id']}").json()["end"] == "completed"
    assert stored(fixtures, open_task) == ("done", "bot")


def test_claim_of_another_user_is_neither_extended_nor_finished(bot, other_bot, open_task):
    granted = claim(bot)

    assert other_bot.patch(f"/claims/{granted['id']}", {}).status_code == 403
    assert finish(other_bot, granted).status_code == 403


# ---- expiry and attempts ------------------------------------------------------------------------


def test_expired_claim_is_taken_over_with_a_larger_fence(fixtures, bot, other_bot, open_task):
    first = claim(bot)
    expire(fixtures, first)

    second = claim(other_bot)

    assert (second["task"]["id"], second["fence"], second["attempt"]) == (open_task.pk, 2, 2)
    assert verbs(fixtures, open_task) == ["created", "claimed", "claim_expired", "claimed"]
    assert bot.get(f"/claims/{first['id']}").json()["end"] == "expired"
    assert finish(bot, first).json()["errors"][0]["holder"] == "@bot2"
    finish(other_bot, second, "released")
    assert stored(fixtures, open_task) == ("todo", None)


def test_task_that_a_person_assigned_is_not_taken_over_by_others(fixtures, bot, other_bot):
    with inside(fixtures.acme):
        task = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, assignee=fixtures.bot.user)
    expire(fixtures, claim(bot))

    assert other_bot.post("/claims", {}).status_code == 204
    assert claim(bot)["task"]["id"] == task.pk


def test_reopened_task_of_a_finished_claim_counts_as_unassigned(
    fixtures, as_, bot, other_bot, open_task
):
    finish(bot, claim(bot))
    as_(fixtures.ada).delete(f"/tasks/{open_task.pk}/completion")

    granted = claim(other_bot)

    assert (granted["task"]["id"], granted["attempt"]) == (open_task.pk, 1)


def test_task_goes_to_the_owner_of_its_project_after_max_attempts(fixtures, as_, bot, open_task):
    as_(fixtures.boss).patch("/tenant", {"max_attempts": 2})
    for _ in range(2):
        expire(fixtures, claim(bot, worker="w"))
    with inside(fixtures.acme):
        other = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title="Next")

    granted = claim(bot)

    assert granted["task"]["id"] == other.pk
    assert stored(fixtures, open_task) == ("todo", "ada")
    assert verbs(fixtures, open_task)[-2:] == ["claim_expired", "assigned"]
    with inside(fixtures.acme):
        comment = Comment.objects.get(task=open_task)
        event = Event.objects.filter(subject_id=open_task.pk, verb="claim_expired").last()
    assert (comment.author, event.actor) == (None, None)
    assert "2 claims" in comment.body
    as_(fixtures.ada).delete(f"/tasks/{open_task.pk}/assignment")
    assert claim(bot)["attempt"] == 1


# ---- waiting ------------------------------------------------------------------------------------


def test_request_waits_for_a_task_without_changing_anything(fixtures, bot):
    r = bot.post("/claims", {"wait_seconds": 20}, **{CAN_WAIT: True})

    assert r.status_code == 204
    wait = r.wsgi_request.wait
    assert (wait.tenant_id, wait.seconds, wait.is_stream) == (fixtures.acme.pk, 20, False)


def wait_for_task(client, **body):
    r = client.post("/claims", {"wait_seconds": 20, **body}, **{CAN_WAIT: True})
    assert r.status_code == 204, r.content
    return r.wsgi_request.wait


def test_waiting_request_is_run_when_the_first_claim_expires(fixtures, bot, other_bot, open_task):
    with inside(fixtures.acme):
        TaskFactory(actor=fixtures.ada, project=fixtures.apollo)
    claim(bot, ttl_seconds=600)
    claim(bot, ttl_seconds=10)

    assert 0 < wait_for_task(other_bot).again_after <= 10


def test_claim_that_gives_no_task_to_the_request_does_not_run_it(
    fixtures, bot, other_bot, open_task
):
    with inside(fixtures.acme):
        mine = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, assignee=fixtures.bot.user)
        other = ProjectFactory(actor=fixtures.ada, key="OTHER")
        MemberFactory(actor=fixtures.ada, project=other, user=fixtures.bot.user)
    claim(bot, task=mine.pk, ttl_seconds=10)  # goes back to the bot
    claim(bot, ttl_seconds=10)

    assert wait_for_task(bot, where={"project": ["OTHER"]}).again_after is None
    assert wait_for_task(other_bot, where={"priority": ["high"]}).again_after is None


@pytest.mark.parametrize("path", ["/claims", "/claims?dry_run=true"])
def test_request_that_need_not_or_may_not_wait_is_answered_at_once(bot, path):
    body = {"wait_seconds": 0 if path == "/claims" else 20}

    assert bot.post(path, body, **{CAN_WAIT: True}).wsgi_request.wait is None


def test_request_that_has_given_a_task_to_a_person_does_not_wait(fixtures, as_, bot, open_task):
    as_(fixtures.boss).patch("/tenant", {"max_attempts": 1})
    finish(bot, claim(bot), "failed")

    r = bot.post("/claims", {"wait_seconds": 20}, **{CAN_WAIT: True})

    assert (r.status_code, r.wsgi_request.wait) == (204, None)
    assert stored(fixtures, open_task) == ("todo", "ada")
