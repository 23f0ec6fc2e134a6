"""What people do often, each with the clicks that it may take: the table of jobs.

The rows are those of the demo. A job begins on the page where one has the idea to do it.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext

from taskflow.tests.browser.clicks import Clicks
from taskflow.tests.browser.plugin import Report
from tasks.seeding.logins import DEMO_EMAIL

TASKS, USERS = "/admin/tasks/task/", "/admin/accounts/user/"


def test_signing_in(context: BrowserContext, base: str, report: Report) -> None:
    clicks = Clicks(context.new_page(), base)
    clicks.open("/admin/login/")
    clicks.sign_in(DEMO_EMAIL)
    report(clicks, "sign in", allowed=1)


@pytest.mark.job("find a task by a word", clicks=1)
def test_finding_a_task_by_a_word(job: Clicks) -> None:
    job.open(TASKS)
    search = job.page.locator("#changelist").get_by_role("textbox", name="Type to search")
    search.fill("landing")
    job.press_enter(search)
    job.expect("Write the copy for the landing page")


@pytest.mark.job("find a task by its key", clicks=1)
def test_finding_a_task_by_its_key(job: Clicks) -> None:
    job.open(TASKS)
    search = job.page.locator("#changelist").get_by_role("textbox", name="Type to search")
    search.fill("WEB-1")
    job.press_enter(search)
    job.expect("Write the copy for the landing page")


@pytest.mark.job("complete a task with an open blocker", clicks=3)
def test_completing_a_task_with_an_open_blocker(job: Clicks) -> None:
    job.open(f"{TASKS}?q=WEB-3")
    row = job.page.get_by_role("row", name="Build the sign-up form")
    job.click(row.get_by_role("checkbox"))
    job.select(
        job.page.locator("select[name=action]"), "Complete, even with open subtasks or blockers"
    )
    job.button("Run")
    job.page.get_by_role("row", name="Build the sign-up form").get_by_text("Done").wait_for()


@pytest.mark.job("move a task to another project", clicks=3)
def test_moving_a_task(job: Clicks) -> None:
    job.open(f"{TASKS}2/change/")
    job.pick("project", "Engine")
    job.button("Save")
    job.expect("changed successfully")


@pytest.mark.job("see who changed a task, and undo it", clicks=3)
def test_undoing_a_change(job: Clicks) -> None:
    job.open(f"{TASKS}1/change/")
    job.link("history History")
    job.button("Undo")
    job.button("Undo")
    job.expect("undone")


@pytest.mark.job("off-board a user", clicks=4)
def test_offboarding_a_user(job: Clicks) -> None:
    job.open("/admin/")
    job.link("person Users")
    job.link("DV Dmitri Volkov @dmitri")
    job.link("Offboard")
    job.button("Offboard")
    job.expect("is offboarded")
