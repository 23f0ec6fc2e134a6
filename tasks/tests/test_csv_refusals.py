"""One answer names everything that is refused in a row, at whichever stage it is found."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.changes.tasks import create_task
from tasks.models import Task
from tasks.models.tasks import MAX_TAGS
from tasks.tests.csv_files import errors

pytestmark = pytest.mark.one_database

TAGS = ";".join(f"t{n}" for n in range(MAX_TAGS + 1))


@pytest.fixture
def bob(fixtures, as_):
    return as_(fixtures.bob)


@pytest.fixture
def stored(fixtures):
    """A chain of five levels, and a task with an external_ref."""
    with inside(fixtures.acme):
        parent = None
        for level in range(5):
            parent = create_task(fixtures.ada, fixtures.apollo, title=f"l{level}", parent=parent)
        taken = create_task(fixtures.ada, fixtures.apollo, title="taken", external_ref="r")
    return {"deepest": parent, "taken": taken}


@pytest.mark.parametrize("on_existing", ["refuse", "update"])
def test_unknown_assignee_circular_parent_and_duplicate_ref_are_all_named(bob, stored, on_existing):
    text = "ref,title,assignee,parent,external_ref\na,a,@nobody,a,r\nb,b,,,r\n"

    found = errors(bob, text, map={"ref": "ref"}, on_existing=on_existing)

    codes = {(row, column, code) for row, column, code in found}
    duplicates = {"refuse": (2, "exists"), "update": (3, "repeated")}
    row, code = duplicates[on_existing]
    assert {(2, "assignee", "unknown_reference"), (2, "parent", "cycle")} <= codes
    assert (row, "external_ref", code) in codes


def test_circular_parent_of_a_new_row_is_named_beside_its_other_refusals(bob):
    text = "ref,title,assignee,parent,external_ref\na,a,,,x\nb,b,@nobody,c,x\nc,c,,b,\n"

    found = errors(bob, text, map={"ref": "ref"})

    assert sorted(found) == [
        (3, "assignee", "unknown_reference"),
        (3, "external_ref", "repeated"),
        (3, "parent", "cycle"),
        (4, "parent", "cycle"),
    ]


def test_all_rules_that_a_new_row_breaks_are_named(fixtures, bob, stored):
    deepest = stored["deepest"].key
    text = (
        "title,assignee,due_on,due_date,tags,parent,status,outcome,priority,completed_at\n"
        f"x,@eve,2026-12-01,2026-12-01T00:00:00Z,{TAGS},{deepest},todo,cancelled,nosuch,2026-01-01\n"
    )

    found = errors(bob, text)

    assert {(column, code) for _, column, code in found} == {
        ("assignee", "invalid"),
        ("due_on", "invalid"),
        ("tags", "too_long"),
        ("parent", "too_deep"),
        ("outcome", "outcome_of_open_task"),
        ("priority", "unknown_value"),
        ("completed_at", "forbidden"),
    }
    assert len(found) == 7
    with inside(fixtures.acme):
        assert not Task.objects.filter(title="x").exists()


def test_all_rules_that_a_changed_row_breaks_are_named(fixtures, bob, stored):
    deepest = stored["deepest"].key
    text = (
        "external_ref,assignee,due_on,due_date,tags,parent,priority\n"
        f"r,@eve,2026-12-01,2026-12-01T00:00:00Z,{TAGS},{deepest},nosuch\n"
    )

    found = errors(bob, text, on_existing="update")

    assert {(column, code) for _, column, code in found} == {
        ("assignee", "invalid"),
        ("due_on", "invalid"),
        ("tags", "too_long"),
        ("parent", "too_deep"),
        ("priority", "unknown_value"),
    }
    assert len(found) == 5


def test_refused_cell_causes_no_second_refusal(fixtures, as_, stored):
    boss = as_(fixtures.boss)
    text = (
        "title,status,outcome,completed_at,parent\n"
        f"x,nosuch,cancelled,2026-01-01,{stored['taken'].key}\n"
    )
    with inside(fixtures.acme):
        stored["taken"].refresh_from_db()
    boss.post(f"/tasks/{stored['taken'].pk}/completion")

    found = errors(boss, text)

    assert found == [(2, "status", "unknown_value")]
