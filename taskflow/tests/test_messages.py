"""The texts of refusals are a part of the contract: data/messages.txt has them, one by one.

A block of the file is a request, its headers and its body if any, the status and the code of the
response, and the detail, whose end is open if it is “…”. `<x*501>` stands for 501 times the letter, `<LF>` for a line break.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conftest import ApiClient

pytestmark = pytest.mark.one_database

MESSAGES = Path(__file__).parent / "data" / "messages.txt"
HEADER = re.compile(r"([A-Z][A-Za-z-]+): ?(.*)")
REPEATED = re.compile(r"<(\w)\*(\d+)>")
FORBIDDEN = ("Input should", "Field required", "Extra inputs", "Value error", "validation error")


@dataclass
class Message:
    request: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    status: int = 0
    code: str = ""
    detail: str = ""


def read_messages():
    for block in MESSAGES.read_text().split("\n\n"):
        request, *others, answer, detail = block.strip().split("\n")
        message = Message(request, detail=detail)
        for line in others:
            if header := HEADER.fullmatch(line):
                message.headers[header[1]] = header[2]
            else:
                message.body = REPEATED.sub(lambda m: m[1] * int(m[2]), line).replace("<LF>", "\n")
        status, message.code = answer.split(" ")
        message.status = int(status)
        yield message


def send(client, message):
    """Send the request of a message. A header Authorization replaces that of the client."""
    if "Authorization" in message.headers:
        client = ApiClient()
    headers = {name: text for name, text in message.headers.items() if text != "(none)"}
    kind = headers.pop("Content-Type", "application/json")
    method, path = message.request.split(" ")
    return client.generic(method, path, message.body, kind, headers=headers)


@pytest.mark.parametrize("message", list(read_messages()), ids=lambda message: message.request)
def test_wrong_request_is_refused_with_this_message(fixtures, as_, message):
    r = send(as_(fixtures.boss), message)

    detail = r.json()["detail"]
    if message.detail.endswith("…"):
        detail = f"{detail[: len(message.detail) - 1]}…"
    assert (r.status_code, r.json()["code"], detail) == (
        message.status,
        message.code,
        message.detail,
    )


def test_no_message_is_a_sentence_of_pydantic():
    text = MESSAGES.read_text()

    assert [part for part in FORBIDDEN if part in text] == []
    assert len(list(read_messages())) > 90
