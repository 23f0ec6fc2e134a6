"""A page of the admin in which each click of a person is counted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from playwright.sync_api import Locator, Page

from tasks.seeding.logins import DEMO_PASSWORD

REFUSAL = "the server responded with a status of 409"


@dataclass
class Clicks:
    """Works in the admin as a person does, and counts the clicks.

    A click is a press of the mouse button, or of Enter where it follows a link, sends a form or
    chooses an entry. What is typed counts nothing, and neither does the move to a field with Tab.
    A choice in a list that the browser draws counts as one click.
    """

    page: Page
    base: str
    count: int = 0
    errors: list[str] = field(default_factory=list)  # that the page has reported to the console

    def __post_init__(self) -> None:
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self._note(message.type, message.text))

    def _note(self, kind: str, text: str) -> None:
        """Keep an error. A page that explains a refusal has the status 409, which is none."""
        if kind == "error" and REFUSAL not in text:
            self.errors.append(text)

    def open(self, path: str) -> None:
        """Open the page on which the job begins. It counts as no click."""
        response = self.page.goto(self.base + path)
        assert response is not None
        assert response.ok, f"{path} is answered with {response.status}"

    def click(self, target: Locator) -> None:
        """Press the mouse button on a link, a button or a checkbox."""
        target.click()
        self.count += 1

    def link(self, name: str, *, within: Locator | None = None) -> None:
        """Follow the first link with this name."""
        self.click((within or self.page).get_by_role("link", name=name, exact=True).first)

    def button(self, name: str, *, within: Locator | None = None) -> None:
        """Press the first button with this name."""
        self.click((within or self.page).get_by_role("button", name=name, exact=True).first)

    def press_enter(self, target: Locator) -> None:
        """Press Enter in a field or on an entry."""
        target.press("Enter")
        self.count += 1

    def select(self, target: Locator, option: str) -> None:
        """Choose an option of a list that the browser draws."""
        target.select_option(label=option)
        self.count += 1

    def pick(self, name: str, text: str) -> None:
        """Choose a row in the field of this name that searches for rows: open it, type, choose."""
        self.click(self._field(name))
        self._open_search().fill(text)
        self._choose(text)

    def type_and_choose(self, name: str, text: str) -> None:
        """Choose a row in such a field with the keyboard: move to it, type, choose."""
        self._field(name).focus()
        self.page.keyboard.type(text)
        self._choose(text)

    def _field(self, name: str) -> Locator:
        return self.page.locator(f"select[name={name}] + .select2").get_by_role("combobox")

    def _open_search(self) -> Locator:
        return self.page.locator(".select2-container--open .select2-search__field")

    def _choose(self, text: str) -> None:
        """Press Enter when the row with the text is found."""
        options = self.page.locator(".select2-results__option--highlighted")
        options.filter(has_text=re.compile(re.escape(text), re.IGNORECASE)).wait_for()
        self.press_enter(self._open_search())

    def expect(self, text: str) -> None:
        """Wait until the page shows a text."""
        self.page.get_by_text(text).first.wait_for()

    def sign_in(self, email: str) -> None:
        """Fill in and send the form of the sign-in page that is open."""
        self.page.locator("input[name=username]").fill(email)
        self.page.locator("input[name=password]").fill(DEMO_PASSWORD)
        self.button("Sign in")
        self.page.wait_for_url(re.compile(r"/admin/$"))
