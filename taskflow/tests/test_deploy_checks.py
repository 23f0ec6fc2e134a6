"""`manage.py check --deploy`: silent for a production installation, and clear about each mistake."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.core import checks
from django.db import connection

from taskflow.deploy_checks import check_installation
from taskflow.tenancy import has_roles
from taskflow.tests.server import ROOT

PRODUCTION = {
    "TASKFLOW_DOMAIN": "tasks.example.com",
    "TASKFLOW_HTTPS": "1",
    "TASKFLOW_TRUST_PROXY": "127.0.0.1",
    "TASKFLOW_EMAIL_URL": "smtp://mail.example.com:587",
}


def run_check(tmp_path, **environment):
    """Return what `check --deploy` prints, in a process of its own, for these variables."""
    given = {k: v for k, v in os.environ.items() if not k.startswith(("TASKFLOW_", "DATABASE_"))}
    given |= {"TASKFLOW_DATA_DIR": str(tmp_path), **environment}
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy"],
        cwd=ROOT,
        env=given,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.one_database
def test_production_settings_have_no_warning(tmp_path):
    assert "System check identified no issues" in run_check(tmp_path, **PRODUCTION)


@pytest.mark.slow
@pytest.mark.one_database
def test_default_settings_have_a_warning_for_each_thing_to_set(tmp_path):
    text = run_check(tmp_path)

    for name in ("TASKFLOW_DOMAIN", "TASKFLOW_HTTPS", "TASKFLOW_EMAIL_URL"):
        assert f"{name} is not set" in text or f"Set {name}" in text
    assert "security.W" not in text


@pytest.mark.slow
@pytest.mark.one_database
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"TASKFLOW_DEBUG": "1"}, "DEBUG"),
        ({"TASKFLOW_TRUST_PROXY": ""}, "TASKFLOW_TRUST_PROXY"),
        ({"TASKFLOW_HTTPS": "0"}, "TASKFLOW_HTTPS=1"),
        ({"TASKFLOW_DOMAIN": "localhost"}, "TASKFLOW_DOMAIN"),
        ({"TASKFLOW_EMAIL_URL": "console:"}, "TASKFLOW_EMAIL_URL"),
        ({"DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}, "was not checked"),
    ],
)
def test_each_wrong_setting_has_a_warning_that_names_it(tmp_path, change, words):
    assert words in run_check(tmp_path, **PRODUCTION | change)


def warnings_of_login():
    return [w for w in check_installation(None) if w.id in ("taskflow.W114", "taskflow.W116")]


@pytest.mark.skipif(connection.vendor != "postgresql", reason="about logins of PostgreSQL")
@pytest.mark.raw_sql
def test_login_that_may_become_the_owner_has_a_warning(db):
    (warning,) = warnings_of_login()

    assert isinstance(warning, checks.Warning)
    assert warning.id == ("taskflow.W116" if has_roles(connection) else "taskflow.W114")
    assert "docs/deployment.md" in warning.hint
