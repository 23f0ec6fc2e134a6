"""The pages can be used with a keyboard, a screen reader, a phone, and in the dark.

axe-core finds what assistive technology cannot use. Pictures of each page are kept: on a desk, on
a phone and in the dark.
"""

from __future__ import annotations

from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import BrowserContext, Page

from taskflow.tests.browser.clicks import Clicks
from taskflow.tests.browser.plugin import DESKTOP, SignIn, take_picture
from tasks.seeding.logins import DEMO_EMAIL

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
# The faults that are serious or critical, each with the elements that have it.
RUN_AXE = """async () => {
    const found = await axe.run(document, {resultTypes: ["violations"]});
    return found.violations
        .filter((fault) => ["serious", "critical"].includes(fault.impact))
        .map((fault) => `${fault.id}: ` + fault.nodes.map((node) => node.html).join("\\n    "));
}"""
PHONE = {"width": 390, "height": 844}
# What sticks out of a page that is too wide, for the message of the test.
LIST_WIDE_ELEMENTS = """() => [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
    .slice(0, 5).map((element) => element.outerHTML.slice(0, 120))"""
FOCUSED = r"""() => {
    const element = document.activeElement;
    const name = element.ariaLabel || element.innerText.replace(/\s+/g, " ");
    return `${element.getAttribute("role") || element.tagName.toLowerCase()} ${name}`;
}"""
PAGES = {
    "home": "/admin/",
    "tasks": "/admin/tasks/task/",
    "timeline": "/admin/tasks/task/timeline/?where=project%3DWEB",
    "task": "/admin/tasks/task/2/change/",
    "new task": "/admin/tasks/task/add/",
    "history": "/admin/tasks/task/2/history/",
    "delete": "/admin/tasks/task/2/delete/",
    "projects": "/admin/tasks/project/",
    "project": "/admin/tasks/project/1/change/",
    "page": "/admin/tasks/page/1/change/",
    "users": "/admin/accounts/user/",
    "user": "/admin/accounts/user/2/change/",
    "offboarding": "/admin/accounts/user/2/offboarding/",
    "new token": "/admin/accounts/apitoken/add/",
    "events": "/admin/audit/event/",
    "claims": "/admin/tasks/claim/",
    "account": "/admin/account/",
    "rows in the trash": "/admin/tasks/task/?trash=1",
    "trash": "/admin/trash/",
    "inbox": "/admin/inbox/",
    "board": "/admin/tasks/task/board/",
    "calendar": "/admin/tasks/task/calendar/",
    "CSV import": "/admin/import/",
    "undo": "/admin/audit/event/undo/",
    "move": "/admin/tasks/task/2/move/",
    "quick add": "/admin/tasks/task/quick-add/",
    "new agent": "/admin/accounts/user/new-agent/",
    "tenants": "/admin/accounts/tenant/",
    "today": "/admin/audit/event/?actor__id__exact=2&day=today",
}


@pytest.mark.parametrize("name", PAGES)
def test_page_has_no_serious_fault(signed_in: SignIn, name: str) -> None:
    clicks = signed_in(DEMO_EMAIL)
    clicks.open(PAGES[name])

    check_looks(clicks, f"page-{name}")


def test_sign_in_page_has_no_serious_fault(context: BrowserContext, base: str) -> None:
    clicks = Clicks(context.new_page(), base)
    clicks.open("/admin/login/")

    check_looks(clicks, "page-sign-in")


def check_looks(clicks: Clicks, name: str) -> None:
    """Check a page on a desk, on a phone and in the dark, and keep a picture of each."""
    page = clicks.page
    take_picture(page, name)
    faults = find_faults(page)
    page.set_viewport_size(PHONE)
    take_picture(page, f"{name}-phone")
    width = page.evaluate("document.documentElement.scrollWidth")
    too_wide = page.evaluate(LIST_WIDE_ELEMENTS) if width > PHONE["width"] else []
    page.set_viewport_size(DESKTOP)
    page.emulate_media(color_scheme="dark")
    page.reload()
    take_picture(page, f"{name}-dark")
    in_the_dark = find_faults(page)
    assert not too_wide, "\n".join(too_wide)
    assert not faults, "\n".join(faults)
    assert not in_the_dark, "\n".join(in_the_dark)
    assert not clicks.errors


def find_faults(page: Page) -> list[str]:
    page.evaluate(AXE)
    return page.evaluate(RUN_AXE)


def test_keyboard_alone_reaches_what_can_be_clicked(signed_in: SignIn) -> None:
    clicks = signed_in(DEMO_EMAIL)
    clicks.open(PAGES["tasks"])
    reached = set()
    for _ in range(60):
        clicks.page.keyboard.press("Tab")
        reached.add(clicks.page.evaluate(FOCUSED))

    for wanted in ("Show or hide the menu", "Filters", "A Ada Lindqvist"):
        assert any(name.startswith(f"button {wanted}") for name in reached), (wanted, reached)
    assert "a Add task" in reached


def test_filters_open_with_the_keyboard(signed_in: SignIn) -> None:
    clicks = signed_in(DEMO_EMAIL)
    clicks.open(PAGES["tasks"])
    filters = clicks.page.get_by_role("button", name="Filters")
    filters.focus()

    clicks.page.keyboard.press("Enter")

    clicks.page.locator("#changelist-filter").get_by_text("Status").first.wait_for()
