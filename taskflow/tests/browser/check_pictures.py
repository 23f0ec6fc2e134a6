"""The pictures of the documentation: each page of the demo in a window of one size.

They are kept in var/browser/ like those of the other tests. With DOCS_PICTURES=1 they also replace
those of docs/, which a person does after the pages have changed.
"""

from __future__ import annotations

import os
import shutil

import pytest

from taskflow.tests.browser.plugin import PICTURES, SignIn
from taskflow.tests.server import ROOT
from tasks.seeding.logins import DEMO_EMAIL

MAX_BYTES = 150_000  # of a picture, so that the documentation stays light
PAGES = {
    "admin": "/admin/",
    "task": "/admin/tasks/task/2/change/",
    "board": "/admin/tasks/task/board/",
    "bulk": "/admin/tasks/task/?status__exact=todo",
}


@pytest.mark.parametrize("name", PAGES)
def test_picture_of_the_documentation_is_light(signed_in: SignIn, name: str) -> None:
    clicks = signed_in(DEMO_EMAIL)
    page = clicks.page
    clicks.open(PAGES[name])
    if name == "bulk":
        page.locator("#action-toggle").click()
        clicks.button("Change many…")
        page.get_by_role("button", name="Show what changes").wait_for()
    page.wait_for_load_state("networkidle")
    path = PICTURES / "docs" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)

    page.screenshot(path=path, animations="disabled")

    assert path.stat().st_size < MAX_BYTES
    if os.environ.get("DOCS_PICTURES"):
        shutil.copy(path, ROOT / "docs" / path.name)
