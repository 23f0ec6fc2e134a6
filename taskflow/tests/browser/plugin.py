"""The fixtures of the browser tests: a server with the demo, Chromium, and the table of jobs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, StorageState, sync_playwright

from taskflow.tests.browser.chromium import OPTIONS, find_chromium
from taskflow.tests.browser.clicks import Clicks
from taskflow.tests.server import ROOT, demo_environment, free_port, serve, stop
from tasks.seeding.logins import DEMO_EMAIL

PICTURES = ROOT / "var" / "browser"
TIMEOUT = 20_000  # milliseconds to wait for an element or a page; the machine may be busy
DESKTOP = {"width": 1280, "height": 900}

Counts = dict[str, tuple[int, int]]  # job: clicks, and how many are allowed
COUNTS = pytest.StashKey[Counts]()
SignIn = Callable[[str], Clicks]


class Report(Protocol):
    def __call__(self, clicks: Clicks, job: str, *, allowed: int) -> None: ...


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "job(name, clicks): a job, and how many clicks it may take")
    config.stash[COUNTS] = {}


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table of jobs and clicks."""
    counts = config.stash[COUNTS]
    if counts:
        terminalreporter.section("jobs")
        terminalreporter.write_line(f"{'clicks':>6} {'allowed':>7}  job")
    for job, (count, allowed) in counts.items():
        terminalreporter.write_line(f"{count:>6} {allowed:>7}  {job}")
    terminalreporter.write_line(f"Pictures: {PICTURES.relative_to(ROOT)}/")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with the demo. BROWSER_BASE names one that runs already."""
    if running := os.environ.get("BROWSER_BASE"):
        yield running
        return
    directory = tmp_path_factory.mktemp("server")
    port = free_port()
    process = serve(port, demo_environment(directory / "data"), directory / "log")
    yield f"http://127.0.0.1:{port}"
    stop(process)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def sessions() -> dict[str, StorageState]:
    """The cookies of those who have signed in, by e-mail: signing in is slow on purpose."""
    return {}


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(viewport=DESKTOP)
    context.set_default_timeout(TIMEOUT)
    yield context
    context.close()


@pytest.fixture
def signed_in(chromium: Browser, base: str, sessions: dict[str, StorageState]) -> Iterator[SignIn]:
    """signed_in(email) returns a page in a browser in which this user has signed in."""
    opened: list[BrowserContext] = []

    def sign_in(email: str = DEMO_EMAIL) -> Clicks:
        context = chromium.new_context(viewport=DESKTOP, storage_state=sessions.get(email))
        opened.append(context)
        context.set_default_timeout(TIMEOUT)
        clicks = Clicks(context.new_page(), base)
        if email not in sessions:
            clicks.open("/admin/login/")
            clicks.sign_in(email)
            sessions[email] = context.storage_state()
            clicks.count = 0
        return clicks

    yield sign_in
    for context in opened:
        context.close()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Report:
    """report(clicks, job, allowed=n) adds a job that is done to the table, with a picture.

    It fails if the job took more clicks than allowed, or if a script of a page failed.
    """

    def add(clicks: Clicks, job: str, *, allowed: int) -> None:
        take_picture(clicks.page, f"job-{job}")
        request.config.stash[COUNTS][job] = (clicks.count, allowed)
        assert 0 < clicks.count <= allowed, f"{job}: {clicks.count} clicks, {allowed} are allowed"
        assert not clicks.errors

    return add


@pytest.fixture
def job(request: pytest.FixtureRequest, signed_in: SignIn, report: Report) -> Iterator[Clicks]:
    """A page in which a user does the job of the mark `job`: Ada, unless the mark has another."""
    mark = request.node.get_closest_marker("job")
    clicks = signed_in(mark.kwargs.get("by", DEMO_EMAIL))
    failures = request.session.testsfailed
    yield clicks
    if request.session.testsfailed > failures:
        return  # a job that failed has no row in the table
    report(clicks, mark.args[0], allowed=mark.kwargs["clicks"])


def take_picture(page: Page, name: str) -> Path:
    """Keep a picture of the whole page. Returns its path."""
    path = PICTURES / f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path, full_page=True, animations="disabled")
    return path
