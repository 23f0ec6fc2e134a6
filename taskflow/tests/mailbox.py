"""The mails that requests of a test send, for tests that roll their transaction back."""

from __future__ import annotations

import re

from django.core import mail
from django.core.mail import EmailMessage
from django.db import connection

from taskflow.mail.sending import deliver, mail_queue

LINK = re.compile(r"https?://\S+")


class Mailbox:
    """Sends what waits for a commit, and returns it."""

    def collect(self) -> list[EmailMessage]:
        """Return the mails since the last call, oldest first. Those rolled back are not there."""
        callbacks, connection.run_on_commit = connection.run_on_commit, []
        for _, callback, _ in callbacks:
            queue_method, mails = getattr(callback, "func", None), getattr(callback, "args", ())
            if queue_method == mail_queue.put:
                deliver(*mails)
            else:
                connection.run_on_commit.append((set(), callback, False))
        sent, mail.outbox = mail.outbox, []
        return sent

    def collect_one(self) -> EmailMessage:
        (only,) = self.collect()
        return only

    def collect_link(self) -> str:
        """Return the only link in the only mail since the last call."""
        (link,) = LINK.findall(str(self.collect_one().body))
        return str(link)

    def collect_token(self) -> str:
        """Return the secret in the only link in the only mail since the last call."""
        return self.collect_link().partition("token=")[2]
