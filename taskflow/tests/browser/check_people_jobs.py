"""Jobs of administrators and operators: people, agents and tenants."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import BrowserContext

from taskflow.tests.browser.clicks import Clicks
from taskflow.tests.browser.plugin import Report
from tasks.seeding.logins import OPERATOR_EMAIL


@pytest.mark.job("add an agent with a token for one project", clicks=5)
def test_adding_an_agent_with_a_token(job: Clicks) -> None:
    job.open("/admin/")
    job.link("Users")
    job.link("Add agent")
    job.page.locator("input[name=handle]").fill("packer")
    job.pick("project", "Engine")
    job.button("Add agent")
    job.page.locator("[data-token]").wait_for()


@pytest.mark.job("see what an agent did today", clicks=2)
def test_seeing_what_an_agent_did_today(job: Clicks) -> None:
    job.open("/admin/")
    job.link("Users")
    agent = job.page.locator("#result_list tr", has_text="Agent")
    job.click(agent.get_by_role("link", name=re.compile("^Today:")).first)
    job.page.wait_for_url(re.compile("day=today"))
    job.page.locator("#changelist").wait_for()


@pytest.mark.job("off-board a user, with the numbers before", clicks=4)
def test_offboarding_a_user(job: Clicks) -> None:
    job.open("/admin/")
    job.link("Users")
    job.click(job.page.get_by_role("link", name=re.compile("Dmitri Volkov @dmitri")))
    job.link("Offboard")
    numbers = job.page.locator("[data-numbers]").inner_text()
    assert re.search(r"Open tasks: \d+", numbers)
    job.button("Offboard")
    job.expect("is offboarded")


def test_changing_the_tenant(context: BrowserContext, base: str, report: Report) -> None:
    clicks = Clicks(context.new_page(), base.replace("127.0.0.1", "platform.localhost"))
    clicks.open("/admin/login/")
    clicks.sign_in(OPERATOR_EMAIL)
    clicks.count = 0
    tenant = clicks.page.locator("#header-inner").get_by_text("Acme Rockets")
    assert not tenant.count()
    clicks.link("Tenants")
    clicks.button("Work here: Acme Rockets")
    clicks.page.wait_for_url(re.compile(r"/admin/$"))
    tenant.wait_for()
    report(clicks, "change the tenant as an operator", allowed=2)
    clicks.open("/admin/tasks/project/")
    clicks.expect("Website relaunch")
