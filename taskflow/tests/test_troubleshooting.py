"""docs/troubleshooting.md names messages and codes that exist, and its commands run."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from taskflow.error_codes import ERROR_CODES
from taskflow.tests.server import ROOT

pytestmark = pytest.mark.one_database

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
FIRST_CELLS = re.findall(r"^\| (.+?) \|", PAGE, re.M)
# That a person reads on the screen or in the log, as far as TaskFlow writes it.
MESSAGES = [
    message.partition(" (")[0]
    for cell in FIRST_CELLS
    for message in re.findall(r"`([A-Z][^`]+? [^`]+|cannot be used [^`]+)`", cell)
]


def test_every_server_error_is_explained():
    codes = {code for status, codes in ERROR_CODES.items() if status >= 500 for code in codes}
    named = {name for cell in FIRST_CELLS for name in re.findall(r"`([a-z_]+)`", cell)}

    assert codes <= named


def test_quoted_messages_are_those_of_the_code():
    files = [p for d in ("taskflow", "accounts") for p in (ROOT / d).rglob("*.py")]
    code = "\n".join(p.read_text() for p in files if "tests" not in p.parts)

    assert len(MESSAGES) >= 8
    assert [message for message in MESSAGES if message not in code] == []


def test_links_lead_to_headings():
    for page, heading in re.findall(r"\]\((\w+\.md)?(?:#([a-z0-9-]+))?\)", PAGE):
        text = (ROOT / "docs" / page).read_text() if page else PAGE
        titles = re.findall(r"^#+ (.+)$", text, re.M)
        slugs = [re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles]
        assert not heading or heading in slugs, (page, heading)


def test_commands_read_the_log(tmp_path):
    request = {"level": "error", "request_id": "8" * 32, "status": 503, "code": "read_only"}
    lines = [request, request | {"level": "warning", "code": None, "slow": True}]
    log = tmp_path / "log"
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    script = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.S))
    script = script.replace("/tmp/taskflow.log", str(tmp_path / "last"))
    script = re.sub(r"journalctl [^>]+>", f"cat {log} >", script)

    printed = subprocess.check_output(["bash", "-euo", "pipefail", "-c", script], text=True)

    assert re.search(r'1 "status": 503, "code": "read_only"', printed)
    assert printed.count('"slow": true') == 1
    assert printed.count('"level": "error"') == 1
    assert printed.endswith("not in the last 15 minutes\n")
