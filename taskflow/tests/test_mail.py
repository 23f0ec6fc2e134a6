"""E-mail: its settings, links in mails, and sending after the commit."""

from __future__ import annotations

import logging
import socket
import threading
import time

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as SmtpBackend
from django.db import connection, transaction

from taskflow.logging import JsonFormatter
from taskflow.mail import sending
from taskflow.mail.checks import check_mail
from taskflow.mail.email_url import MailSettings, parse_email_url, parse_sender
from taskflow.mail.links import build_link
from taskflow.mail.sending import Mail, MailQueue, deliver, send_after_commit

pytestmark = pytest.mark.one_database

MESSAGE = Mail("test", "ada@acme.example", "A subject", "A text with a secret.")
CONSOLE = "django.core.mail.backends.console.EmailBackend"


# ---- the settings ----


@pytest.mark.sampled(20)
@pytest.mark.parametrize(
    ("url", "host", "port", "login", "encryption"),
    [
        ("smtp://u:p@h.example:587", "h.example", 587, ("u", "p"), "starttls"),
        ("smtp://u:p@h.example", "h.example", 587, ("u", "p"), "starttls"),
        ("smtp://u%40x:p%3A%2F@h.example:25", "h.example", 25, ("u@x", "p:/"), "starttls"),
        ("smtp://localhost:25", "localhost", 25, ("", ""), "none"),
        ("smtp://u:p@localhost:25?starttls=false", "localhost", 25, ("u", "p"), "none"),
        ("smtp://h.example:2525?starttls=true", "h.example", 2525, ("", ""), "starttls"),
        ("smtps://u:p@h.example", "h.example", 465, ("u", "p"), "tls"),
        ("smtps://u:p@[::1]:4465", "::1", 4465, ("u", "p"), "tls"),
    ],
)
def test_url_of_a_mail_server_becomes_settings(url, host, port, login, encryption):
    made = parse_email_url(url)

    assert made.sends_mail
    assert (made.email_host, made.email_port) == (host, port)
    assert (made.email_host_user, made.email_host_password) == login
    assert made.email_use_tls == (encryption == "starttls")
    assert made.email_use_ssl == (encryption == "tls")
    assert repr(made).endswith(f"({made.email_backend}, {host}:{port})")


@pytest.mark.sampled(30)
@pytest.mark.parametrize(
    "url",
    [
        "smtp://",
        "smtp://:p455@",
        "smtp://u@h.example",
        "smtp://:p455@h.example",
        "smtp://u:p455@h.example:99999",
        "smtp://u:p455@h.example:x",
        "smtp://u:p455@h.example/path",
        "smtp://u:p455@h.example#x",
        "smtp://u:p455@h.example?tls=1",
        "smtp://u:p455@h.example?starttls=maybe",
        "smtps://u:p455@h.example?starttls=true",
        "smtp://u:p455@[h.example",
        "imap://u:p455@h.example",
        "file://host/p455",
        "file:relative/p455",
        "console:p455",
        "none://p455",
        "p455",
        "smtp",
    ],
)
def test_url_that_is_not_understood_is_refused_without_its_password(url):
    with pytest.raises(ImproperlyConfigured) as raised:
        parse_email_url(url)

    assert "TASKFLOW_EMAIL_URL" in str(raised.value)
    assert "p455" not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_other_urls_print_write_files_or_send_nothing():
    assert parse_email_url("console:") == MailSettings(CONSOLE)
    assert parse_email_url("file:///srv/mails").email_file_path == "/srv/mails"
    assert not parse_email_url("none:").sends_mail


@pytest.mark.parametrize("text", ["a@b.example", "TaskFlow <a@b.example>", '"T, F" <a@b.example>'])
def test_sender_may_have_a_name(text):
    assert "a@b.example" in parse_sender(text)


@pytest.mark.sampled(10)
@pytest.mark.parametrize("text", ["", "x", "a@", "@b", "a b@c", "a@b.example\nBcc: c@d", "ä@b.c"])
def test_sender_that_is_no_address_is_refused(text):
    with pytest.raises(ImproperlyConfigured, match="TASKFLOW_EMAIL_FROM"):
        parse_sender(text)


def test_check_for_deployment_warns_when_mails_reach_nobody(settings):
    settings.SENDS_MAIL, settings.EMAIL_HOST = False, ""
    assert [warning.id for warning in check_mail(None)] == ["taskflow.W101"]

    settings.SENDS_MAIL = True
    assert [warning.id for warning in check_mail(None)] == ["taskflow.W102"]

    settings.EMAIL_HOST = "mail.example"
    assert check_mail(None) == []


# ---- links ----


def test_link_names_the_host_of_the_tenant(settings):
    settings.DOMAIN, settings.HTTPS, settings.LINK_PORT = "tasks.example", True, 0
    settings.DEFAULT_TENANT = "acme"

    link = build_link("globex", "/admin/password-reset/", {"token": "a b"})

    assert link == "https://globex.tasks.example/admin/password-reset/?token=a+b"
    assert build_link("acme", "/admin/") == "https://tasks.example/admin/"
    settings.HTTPS, settings.LINK_PORT = False, 8000
    assert build_link("acme", "/admin/") == "http://tasks.example:8000/admin/"


# ---- sending ----


@pytest.fixture
def sends(settings):
    settings.SENDS_MAIL = True


def wait_for(condition):
    for _ in range(500):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen within 5 seconds")


@pytest.mark.django_db(transaction=True)
def test_mail_is_sent_after_the_commit_and_never_after_a_rollback(sends):
    with transaction.atomic():
        send_after_commit(MESSAGE)
        assert mail.outbox == []
    wait_for(lambda: mail.outbox)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        send_after_commit(MESSAGE)
        raise ZeroDivisionError

    sending.mail_queue.finish(5)
    assert [message.to for message in mail.outbox] == [["ada@acme.example"]]
    assert mail.outbox[0].extra_headers["Auto-Submitted"] == "auto-generated"


@pytest.mark.django_db
def test_nothing_is_queued_when_no_mail_server_is_set(settings):
    settings.SENDS_MAIL = False

    send_after_commit(MESSAGE)

    assert connection.run_on_commit == []


def test_put_returns_while_the_mail_server_is_silent(settings, caplog):
    caplog.set_level(logging.ERROR, "taskflow.mail")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = silent.getsockname()
        settings.EMAIL_USE_TLS, settings.EMAIL_HOST_USER = False, ""
        settings.EMAIL_TIMEOUT = 0.3
        mails, started = MailQueue(), time.monotonic()

        mails.put(MESSAGE)
        mails.put(MESSAGE)
        put_seconds = time.monotonic() - started
        mails.finish(5)

    assert put_seconds < 0.2
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert all(text.startswith("a mail was not sent: test. ") for text in texts)
    assert all(text.endswith("timed out") for text in texts)


def test_refused_mail_is_logged_with_its_cause_and_without_its_secrets(
    settings, monkeypatch, caplog
):
    settings.EMAIL_HOST_PASSWORD = "p455"

    def refuse(self, messages):
        raise OSError("Connection refused")

    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    monkeypatch.setattr(SmtpBackend, "send_messages", refuse)
    caplog.set_level(logging.INFO, "taskflow.mail")

    assert not deliver(MESSAGE)

    (record,) = caplog.records
    assert record.getMessage() == "a mail was not sent: test. OSError: Connection refused"
    line = JsonFormatter().format(record)
    assert "secret" not in line
    assert "p455" not in line


class BlockedBackend(BaseEmailBackend):
    """Sends nothing until `released` is set."""

    released = threading.Event()

    def send_messages(self, messages):
        self.released.wait(5)
        return len(messages)


def test_mails_beyond_the_limit_and_at_the_end_are_logged_as_lost(settings, monkeypatch, caplog):
    settings.EMAIL_BACKEND = f"{__name__}.BlockedBackend"
    BlockedBackend.released.clear()
    monkeypatch.setattr(sending, "MAX_WAITING", 2)
    caplog.set_level(logging.ERROR, "taskflow.mail")
    mails = MailQueue()

    for _ in range(4):  # one is being sent or waits, so that two or three have a place
        mails.put(MESSAGE)
    mails.finish(0)
    BlockedBackend.released.set()
    mails.finish(5)

    texts = [record.getMessage() for record in caplog.records]
    assert texts[0] == "a mail was not sent: test. 2 mails wait already"
    assert texts[-1].endswith("mails were not sent before the process ended")
