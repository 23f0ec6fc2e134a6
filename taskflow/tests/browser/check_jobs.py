"""What people do often, each with the clicks that it may take: the table of jobs.

The rows are those of the demo. A job begins on the page where one has the idea to do it.
"""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext

from taskflow.tests.browser.clicks import Clicks
from taskflow.tests.browser.plugin import Report
from tasks.seeding.logins import DEMO_EMAIL

TASKS = "/admin/tasks/task/"


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


@pytest.mark.job("see my overdue tasks", clicks=1)
def test_seeing_my_overdue_tasks(job: Clicks) -> None:
    job.open("/admin/")
    job.click(job.page.get_by_role("link", name=re.compile("^Overdue")))
    job.page.wait_for_url(re.compile("overdue"))
    job.page.locator("#changelist").wait_for()


@pytest.mark.job("create a project with two members", clicks=6)
def test_creating_a_project_with_two_members(job: Clicks) -> None:
    job.open("/admin/tasks/project/")
    job.link("Add project")
    job.page.locator("input[name=name]").fill("Sail repair")
    job.pick("memberships-0-user", "Okafor")
    job.pick("memberships-1-user", "Volkov")
    job.button("Save")
    job.expect("was added successfully")


@pytest.mark.job("add five tasks with tag, due day and blocker", clicks=15)
def test_adding_five_tasks(job: Clicks) -> None:
    """Each of them may take three clicks."""
    job.open(TASKS)
    before = 0
    for number in range(1, 6):
        if number == 1:
            job.link("Quick add")
        line = job.page.locator("#quick-line")
        line.fill(f"Pack box {number} #luggage tomorrow blocker:WEB-1 WEB")
        job.press_enter(line)
        job.expect(f"Pack box {number}.")
        assert job.count - before <= 3
        before = job.count


@pytest.mark.job("publish a page", clicks=2)
def test_publishing_a_page(job: Clicks) -> None:
    job.open("/admin/tasks/page/?is_published__exact=0")
    job.click(job.page.locator("#result_list tbody th a").first)
    job.button("Publish")
    job.expect("is published.")


@pytest.mark.job("complete a task with an open blocker", clicks=3)
def test_completing_a_task_with_an_open_blocker(job: Clicks) -> None:
    job.open(f"{TASKS}3/change/")
    job.button("Complete")
    job.click(job.page.locator("button[name=force]"))
    job.page.locator(".task-head").get_by_text("Done").wait_for()


@pytest.mark.job("comment on a task", clicks=2)
def test_commenting_on_a_task(job: Clicks) -> None:
    job.open(f"{TASKS}2/change/")
    field = job.page.locator("textarea[name=body]")
    field.fill("Three fields are enough.")
    job.click(job.page.locator("form", has=field).get_by_role("button").first)
    job.expect("Three fields are enough.")


@pytest.mark.job("move a task to another project", clicks=3)
def test_moving_a_task(job: Clicks) -> None:
    job.open(f"{TASKS}2/change/")
    job.link("Move")
    job.type_and_choose("project", "Engine")
    job.button("Move")
    job.page.locator(".task-head-key").get_by_text("ENG-").wait_for()


@pytest.mark.job("see who changed a task, and undo it", clicks=3)
def test_undoing_a_change(job: Clicks) -> None:
    job.open(f"{TASKS}6/change/")
    job.page.get_by_role("button", name="Start").click()  # what is undone; no part of the job
    status = job.page.locator(".task-head")
    status.get_by_text("In progress").wait_for()
    job.click(job.page.get_by_role("link", name=re.compile("History")).first)
    job.button("Undo")
    job.click(job.page.locator("button[name=confirmed]"))
    job.open(f"{TASKS}6/change/")
    status.get_by_text("To do").wait_for()


@pytest.mark.job("undo with the button of a message", clicks=3)
def test_undoing_with_the_button_of_a_message(job: Clicks) -> None:
    job.open(f"{TASKS}6/change/")
    job.page.get_by_role("button", name="Start").click()  # what is undone; no part of the job
    job.click(job.page.get_by_role("button", name="Undo", exact=True).first)
    job.click(job.page.locator("button[name=confirmed]"))
    job.expect("were undone")
