"""Handles, names and e-mails of users are compared by the one folding, in every channel."""

from __future__ import annotations

import pytest

from accounts.models import User
from accounts.tests.factories import UserFactory
from taskflow.tenancy import inside
from tasks.tests.csv_files import created

HANDLES = ["@Ada", "@ＡＤＡ"]


@pytest.fixture
def unal(fixtures):
    """A user whose name has letters that SQLite does not change to lower case."""
    with inside(fixtures.acme):
        return UserFactory(actor=fixtures.boss, handle="unal", full_name="ÜNAL Straße")


@pytest.mark.parametrize("handle", HANDLES)
def test_handle_is_found_in_any_case_and_width(fixtures, as_, handle):
    boss = as_(fixtures.boss)

    found = {
        "path": boss.get(f"/users/{handle}").json().get("id"),
        "list": [row["id"] for row in boss.get(f"/users?handle={handle[1:]}").json()["data"]],
        "body": boss.patch("/tasks/APO-1", {"assignee": handle}).json()["assignee"]["id"],
        "filter": boss.get(f"/tasks?assignee={handle}").json()["data"][0]["assignee"]["id"],
        "cell": created(boss, f"title,assignee\nx,{handle}\n")["assignee"]["id"],
    }

    ada = fixtures.ada.user.pk
    assert found == {"path": ada, "list": [ada], "body": ada, "filter": ada, "cell": ada}


@pytest.mark.parametrize("text", ["ünal", "ÜNAL", "U\u0308nal", "strasse", "ＳＴＲＡẞＥ"])
def test_user_is_found_by_a_part_of_the_name(fixtures, as_, unal, text):
    data = as_(fixtures.boss).get("/users", {"q": text}).json()["data"]

    assert [row["id"] for row in data] == [unal.pk]


@pytest.mark.parametrize("name", ["ünal straße", "ÜNAL STRASSE", "u\u0308nal  Straẞe"])
def test_cell_finds_a_user_by_the_whole_name(fixtures, as_, unal, name):
    with inside(fixtures.acme):
        User.objects.filter(pk=unal.pk).update(is_staff=True)  # who can be assigned

    assert created(as_(fixtures.boss), f"title,assignee\nx,{name}\n")["assignee"]["id"] == unal.pk


def test_cell_finds_a_user_by_an_email_that_folds_to_another_domain(fixtures, as_):
    with inside(fixtures.acme):
        user = UserFactory(actor=fixtures.boss, handle="s", email="s@straße.example", is_staff=True)

    cell = "S@STRAßE.example"

    assert created(as_(fixtures.boss), f"title,assignee\nx,{cell}\n")["assignee"]["id"] == user.pk


def test_column_and_value_are_found_in_any_width(fixtures, as_):
    text = "Ｔｉｔｌｅ,STATUS\nx,Ｉｎ－Ｐｒｏｇｒｅｓｓ\n"

    assert created(as_(fixtures.boss), text)["status"] == "in_progress"


def test_new_name_of_a_user_is_found(fixtures, as_, unal):
    boss = as_(fixtures.boss)
    boss.patch(f"/users/{unal.pk}", {"full_name": "Ärmel"})

    assert [row["id"] for row in boss.get("/users?q=ÄRMEL").json()["data"]] == [unal.pk]
