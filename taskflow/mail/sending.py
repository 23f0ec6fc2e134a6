"""Send mails after the commit, in a thread of the process.

The mail server may take seconds to answer. No request and no transaction waits for it. Mails wait
in memory, so those of a process that is killed are lost. A person can ask for each of them again.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from threading import Lock, Thread
from typing import ParamSpec

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.utils import translation

log = logging.getLogger("taskflow.mail")
P = ParamSpec("P")
MAX_WAITING = 1000  # mails in memory
EXIT_SECONDS = 10.0  # for which a command that ends waits for its mails
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Mail:
    """A mail to one address. `kind` names its purpose in the log. Contains secrets."""

    kind: str
    to: str
    subject: str
    text: str
    html: str = ""  # the same as HTML; empty for a mail of text alone
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Mail({self.kind})"


def in_mail_language(build: Callable[P, Mail]) -> Callable[P, Mail]:
    """Let a function that builds a mail do so in the language of mails.

    Who reads a mail is not who has sent the request, whose language the page has.
    """

    @wraps(build)
    def build_in_language(*args: P.args, **kwargs: P.kwargs) -> Mail:
        with translation.override(settings.MAIL_LANGUAGE):
            return build(*args, **kwargs)

    return build_in_language


def send_after_commit(mail: Mail) -> None:
    """Send the mail when the transaction is committed; never if it is rolled back.

    Outside a transaction, it is sent now. Without a mail server (`none:`), nothing is sent.
    """
    if settings.SENDS_MAIL:
        transaction.on_commit(partial(mail_queue.put, mail))


def deliver(mail: Mail) -> bool:
    """Send a mail now. Return whether the mail server has accepted it. Errors are logged.

    The log names the purpose and the error, never the text. The address is part of the error if the
    server has refused it.
    """
    message = EmailMultiAlternatives(
        mail.subject, mail.text, settings.DEFAULT_FROM_EMAIL, [mail.to], headers=dict(mail.headers)
    )
    if mail.html:
        message.attach_alternative(mail.html, "text/html")
    message.extra_headers["Auto-Submitted"] = "auto-generated"  # no out-of-office replies
    started = time.monotonic()
    try:
        message.send()
    except Exception as error:  # a mail server may cause any: OSError, SMTPException, ssl.SSLError
        log.error("a mail was not sent: %s. %s: %s", mail.kind, type(error).__name__, error)
        return False
    ms = round((time.monotonic() - started) * 1000)
    log.info("a mail was sent: %s", mail.kind, extra={"ms": ms})
    return True


class MailQueue:
    """Mails that wait for the thread which sends them, one after the other.

    The thread starts with the first mail of a process: a fork does not copy threads.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._thread_of: int | None = None  # the id of the process
        self._waiting: queue.Queue[Mail] = queue.Queue(MAX_WAITING)

    def put(self, mail: Mail) -> None:
        """Let the thread send the mail. Logs the loss of a mail if too many wait."""
        with self._lock:
            if self._thread_of != os.getpid():
                self._thread_of = os.getpid()
                Thread(target=self._send_all, name="mail", daemon=True).start()
                atexit.register(self.finish, EXIT_SECONDS)  # of a command; workers call it
        try:
            self._waiting.put_nowait(mail)
        except queue.Full:
            log.error("a mail was not sent: %s. %d mails wait already", mail.kind, MAX_WAITING)

    def finish(self, seconds: float) -> None:
        """Wait until all mails are sent, for at most so many seconds. Logs how many are lost."""
        deadline = time.monotonic() + seconds
        while self._waiting.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if lost := self._waiting.unfinished_tasks:
            log.error("%d mails were not sent before the process ended", lost)

    def _send_all(self) -> None:
        while True:
            mail = self._waiting.get()
            try:
                deliver(mail)
            finally:
                self._waiting.task_done()


mail_queue = MailQueue()
