"""`python -m tasks.tests.impatient_deliverer`: a deliverer with short leases and retries.

So that a proof with many kills need not wait a minute after each of them.
"""

from __future__ import annotations

import os
from datetime import timedelta

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskflow.settings")
    django.setup()
    from tasks.webhooks import attempts
    from tasks.webhooks.deliverer import Deliverer

    attempts.LEASE = timedelta(seconds=3)
    attempts.RETRY_DELAYS = (1,) * 100
    Deliverer().run()
