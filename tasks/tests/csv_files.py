"""Sending CSV files."""

from __future__ import annotations

import json
from urllib.parse import urlencode


def load(client, text, content_type="text/csv", project="APO", **options):
    query = urlencode(
        {n: json.dumps(v) if isinstance(v, dict) else v for n, v in options.items()}, doseq=True
    )
    path = f"/projects/{project}/tasks.csv?{query}"
    return client.generic("POST", path, text, content_type=content_type)


def created(client, text, **options):
    """Import a file with one task, and return the task."""
    r = load(client, text, **options)
    assert (r.status_code, r.json().get("created")) == (200, 1), r.content
    return client.get(f"/tasks/{r.json()['keys'][0]}").json()


def errors(client, text, **options):
    """The row, the column and the code of each error."""
    r = load(client, text, **options)
    assert r.status_code == 422, r.content
    return [(e["row"], e["column"], e["code"]) for e in r.json()["errors"]]
