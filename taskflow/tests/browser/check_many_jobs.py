"""Jobs that concern many tasks at once: changing them, restoring from the trash, CSV in and out."""

from __future__ import annotations

import re

import pytest

from taskflow.tests.browser.clicks import Clicks

TASKS = "/admin/tasks/task/"
FILE = {
    "name": "tasks.csv",
    "mimeType": "text/csv",
    "buffer": b"Summary,Assigned to,Due\nPack the flags,@bob,2026-12-01\nCheck the sail,,\n",
}


@pytest.mark.job("reassign ten tasks, and be able to undo it", clicks=5)
def test_reassigning_ten_tasks(job: Clicks) -> None:
    job.open(f"{TASKS}?status__exact=todo")
    job.click(job.page.locator("#action-toggle"))
    job.button("Change many…")
    job.type_and_choose("assignee", "bob")
    job.button("Show what changes")
    job.click(job.page.locator("button[name=make]"))
    job.expect("changed.")
    job.page.get_by_role("button", name="Undo").wait_for()


@pytest.mark.job("restore a task from the trash", clicks=2)
def test_restoring_from_the_trash(job: Clicks) -> None:
    job.open(f"{TASKS}?q=changelog")
    job.button("Change many…")
    job.page.locator("button[name=delete]").click()
    job.page.locator("button[name=make]").click()
    job.expect("in the trash")
    job.count = 0  # the deletion only prepares the job
    job.click(job.page.get_by_role("link", name=re.compile("Trash$")).first)
    job.click(job.page.get_by_role("button", name="Restore").first)
    job.expect("is restored")


@pytest.mark.job("import a CSV file", clicks=4)
def test_importing_a_csv_file(job: Clicks) -> None:
    job.open(TASKS)
    job.link("Import CSV")
    job.page.locator("input[type=file]").set_input_files([FILE])  # type: ignore[list-item]
    job.count += 1  # the choice of the file
    job.button("Show what happens")
    job.button("Import 2 rows")
    job.expect("2 tasks are created.")


@pytest.mark.job("download the tasks of a list as CSV", clicks=2)
def test_downloading_a_list(job: Clicks) -> None:
    job.open(f"{TASKS}?where=project%3DWEB")
    with job.page.expect_download() as download:
        job.link("Download as CSV")
    assert "WEB-1" in download.value.path().read_text()
