"""The number of statements of an undo does not depend on how many rows hang together."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.tests.factories import UserFactory
from conftest import PROOF, ApiClient, Fixtures, token_of
from taskflow.audit.undo.apply import MAX_STEPS
from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.actions.undo import undoing
from tasks.models import Task

BULK = 200  # operations in a request
SIZES = (160, 1000) if PROOF else (40, 160)


class Place:
    """Ada's project Apollo with new tasks in it, and Zeus."""

    def __init__(self, fixtures: Fixtures, count: int) -> None:
        self.fixtures, self.count = fixtures, count
        self.request_id = f"r-1-{count}"  # of the changes to undo
        self.headers = {"X-Request-Id": self.request_id}
        self.boss = ApiClient(token_of(fixtures.boss))
        self.ada = ApiClient(token_of(fixtures.ada))
        with inside(fixtures.acme):
            self.zeus = create_project(fixtures.boss, name="Zeus", key=f"Z{count}").pk
            first = Task.everything.order_by("-pk").values_list("pk", flat=True)[0]
        data = {"title": "t", "project_id": fixtures.apollo.pk}
        self.send([{"op": "create", "data": data}] * count, "r-0")
        with inside(fixtures.acme):
            rows = Task.objects.filter(pk__gt=first).order_by("pk")
            self.ids = list(rows.values_list("pk", flat=True))

    def send(self, operations: list[dict[str, Any]], request_id: str) -> None:
        for start in range(0, len(operations), BULK):
            body = {"operations": operations[start : start + BULK]}
            r = self.boss.post("/tasks/bulk", body, headers={"X-Request-Id": request_id})
            assert r.status_code == 200, r.content

    def edit(self, ids: list[int], data: Callable[[int], dict[str, Any]], request_id: str) -> None:
        operations = [{"op": "update", "id": pk, "data": data(n)} for n, pk in enumerate(ids)]
        self.send(operations, request_id)


def reverse_blockers(place: Place) -> None:
    """Reverse a chain of blockers. Another user has added one link since."""
    ids = place.ids
    place.edit(ids[:-1], lambda n: {"blocked_by": [ids[n + 1]]}, "r-0")
    place.edit(ids[:-1], lambda n: {"blocked_by": []}, place.request_id)
    place.edit(ids[1:], lambda n: {"blocked_by": [ids[n]]}, place.request_id)
    for blockers in ([], [ids[-2]]):
        place.ada.patch(f"/tasks/{ids[-1]}", {"blocked_by": blockers})


def remove_blockers(place: Place) -> None:
    ids = place.ids
    place.edit(ids[:-1], lambda n: {"blocked_by": [ids[n + 1]]}, "r-0")
    place.edit(ids[:-1], lambda n: {"blocked_by": []}, place.request_id)


def give_parents(place: Place) -> None:
    """Put the tasks below each other, five levels deep."""
    below = [pk for n, pk in enumerate(place.ids) if n % 5]
    parents = [pk for n, pk in enumerate(place.ids) if n % 5 != 4]
    place.edit(below, lambda n: {"parent_id": parents[n]}, place.request_id)


def move(place: Place) -> None:
    data = {"project_id": place.zeus}
    place.send([{"op": "move", "id": pk, "data": data} for pk in place.ids], place.request_id)


def add_tags(place: Place) -> None:
    place.edit(
        place.ids, lambda n: {"tags": [f"{name} {place.count}" for name in "ab"]}, place.request_id
    )


def delete_tag(place: Place) -> None:
    place.edit(place.ids, lambda n: {"tags": ["all"]}, "r-0")
    tag = place.boss.get("/tags").json()["data"][0]["id"]
    place.boss.delete(f"/tags/{tag}", headers=place.headers)


def restore_one_by_one(place: Place) -> None:
    """Delete tasks at different times, and restore them."""
    for pk in place.ids[:40]:
        place.boss.delete(f"/tasks/{pk}")
    for pk in place.ids[:40]:
        place.boss.post(f"/trash/task/{pk}/restoration", headers=place.headers)


def add_members(place: Place) -> None:
    _add_members(place, place.request_id)


def remove_members(place: Place) -> None:
    for pk in _add_members(place, "r-0"):
        place.boss.delete(f"/members/{pk}", headers=place.headers)


def _add_members(place: Place, request_id: str) -> list[int]:
    """Add up to 40 members to Zeus. Return the ids of the memberships."""
    ids = []
    for _ in range(min(place.count, 40)):
        body = {"user_id": UserFactory(actor=place.fixtures.boss).pk}
        path, headers = f"/projects/{place.zeus}/members", {"X-Request-Id": request_id}
        ids.append(place.boss.post(path, body, headers=headers).json()["id"])
    return ids


CHANGES = [
    reverse_blockers,
    remove_blockers,
    give_parents,
    move,
    add_tags,
    delete_tag,
    restore_one_by_one,
    add_members,
    remove_members,
]


def measure_undo(fixtures: Fixtures, change: Callable[[Place], None], count: int) -> tuple[int, float, str]:  # fmt: skip
    """Return the number of statements of a dry run of the undo, its seconds, and what it did."""
    place = Place(fixtures, count)
    change(place)
    body = {"request_id": place.request_id, "on_conflict": "skip"}
    place.boss.post("/undo?dry_run=true", {"request_id": "r-0"})  # compiles the queries
    start = time.perf_counter()
    with CaptureQueriesContext(connection) as captured:
        r = place.boss.post("/undo?dry_run=true", body)
    seconds = time.perf_counter() - start
    assert r.status_code == 200, r.content
    result = f"{len(r.json()['undone'])} undone, {len(r.json()['left_out'])} left out"
    return len(captured.captured_queries), seconds, result


@pytest.mark.sampled(2)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.slow
def test_number_of_statements_does_not_depend_on_the_number_of_rows(fixtures, change):
    few, *_ = measure_undo(fixtures, change, 5)
    many, _, result = measure_undo(fixtures, change, 15)

    assert few == many, result


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_large_undo_takes_as_many_statements_as_a_small_one(fixtures, change):
    counts = []
    for count in SIZES:
        statements, seconds, result = measure_undo(fixtures, change, count)
        counts.append(statements)
        print(
            f"\n{connection.vendor}: {change.__name__} of {count}: {statements} statements,"
            f" {seconds:.2f} s, {result}"
        )

    batches = SIZES[1] // 40  # some statements are divided into batches
    assert counts[1] - counts[0] <= batches


def test_undo_that_keeps_one_link_of_a_reversed_chain_keeps_all(fixtures):
    """Each other link would close a circle with its neighbour."""
    place = Place(fixtures, 6)
    reverse_blockers(place)
    body = {"request_id": place.request_id, "on_conflict": "skip"}

    done = place.boss.post("/undo", body).json()

    assert done["undone"] == []
    assert {entry["code"] for entry in done["left_out"]} == {"changed_since", "cycle"}
    links = [place.boss.get(f"/tasks/{pk}").json()["blocked_by"] for pk in place.ids]
    assert links == [[], *([pk] for pk in place.ids[:-1])]


def test_undo_of_a_reversed_chain_restores_it(fixtures):
    place = Place(fixtures, 6)
    ids = place.ids
    place.edit(ids[:-1], lambda n: {"blocked_by": [ids[n + 1]]}, "r-0")
    place.edit(ids[:-1], lambda n: {"blocked_by": []}, place.request_id)
    place.edit(ids[1:], lambda n: {"blocked_by": [ids[n]]}, place.request_id)

    assert place.boss.post("/undo", {"request_id": place.request_id}).status_code == 200

    links = [place.boss.get(f"/tasks/{pk}").json()["blocked_by"] for pk in ids]
    assert links == [*([b] for _, b in pairwise(ids)), []]


def test_only_the_changes_of_a_circle_are_left_out(fixtures):
    """The other link of the request is restored."""
    place = Place(fixtures, 4)
    a, b, c, d = place.ids
    place.edit([a, c], lambda n: {"blocked_by": [[b], [d]][n]}, "r-0")
    place.edit([a, c], lambda n: {"blocked_by": []}, place.request_id)
    place.ada.patch(f"/tasks/{b}", {"blocked_by": [a]})

    done = place.boss.post("/undo", {"request_id": place.request_id, "on_conflict": "skip"}).json()

    assert [(e["code"], e["subject"]["id"]) for e in done["left_out"]] == [("cycle", a)]
    assert place.boss.get(f"/tasks/{c}").json()["blocked_by"] == [d]


def test_undo_of_too_many_names_that_were_passed_on_is_refused(fixtures):
    """Each name is free only when the next tag has got its former name back."""
    boss, headers = ApiClient(token_of(fixtures.boss)), {"X-Request-Id": "r-1"}
    tags = [boss.post("/tags", {"name": f"t{n}"}).json()["id"] for n in range(MAX_STEPS + 2)]
    for n, pk in reversed(list(enumerate(tags))):
        assert boss.patch(f"/tags/{pk}", {"name": f"t{n + 1}"}, headers=headers).status_code == 200

    refused = boss.post("/undo", {"request_id": "r-1"})

    assert (refused.status_code, refused.json()["code"]) == (409, "cannot_undo")
    assert "Undo fewer changes at once" in refused.json()["detail"]


def test_undo_that_needs_too_many_attempts_is_refused(fixtures, monkeypatch):
    monkeypatch.setattr(undoing, "MAX_ATTEMPTS", 1)
    boss, bob = ApiClient(token_of(fixtures.boss)), ApiClient(token_of(fixtures.bob))
    body = {"project_id": fixtures.apollo.pk, "title": "t"}
    headers = {"X-Request-Id": "r-1"}
    task = boss.post("/tasks", body, headers=headers).json()["id"]
    bob.post("/comments", {"task_id": task, "body": "c"})

    refused = boss.post("/undo", {"request_id": "r-1", "on_conflict": "skip"})

    assert (refused.status_code, refused.json()["code"]) == (409, "cannot_undo")
    assert "Undo fewer at once" in refused.json()["detail"]
    assert [error["code"] for error in refused.json()["errors"]] == ["in_use"]
