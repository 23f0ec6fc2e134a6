"""Settings from environment variables: unknown ones are refused, and defaults are safe."""

from __future__ import annotations

import os
import runpy
import secrets
import stat
from pathlib import Path

import pytest
from django.core.checks import Tags, run_checks
from django.core.exceptions import ImproperlyConfigured

from taskflow import env

pytestmark = pytest.mark.one_database

SETTINGS = Path(__file__).parents[1] / "settings.py"


@pytest.fixture
def start(monkeypatch, tmp_path):
    """start(NAME=value) returns the settings for these environment variables only."""
    for name in [n for n in os.environ if n.startswith(("TASKFLOW_", "DATABASE"))]:
        monkeypatch.delenv(name)

    def run(**variables):
        monkeypatch.setenv("TASKFLOW_DATA_DIR", str(tmp_path))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(SETTINGS))

    return run


def test_default_settings_are_safe(start):
    made = start()

    assert made["DEBUG"] is False
    assert "*" not in made["ALLOWED_HOSTS"]
    assert made["CORS_ALLOWED_ORIGINS"] == []
    assert made["TRUST_PROXY"] == ()
    assert "SECURE_PROXY_SSL_HEADER" not in made
    assert made["SENDS_MAIL"] is False
    assert (made["PROBE_PORT"], made["PROBE_HOST"]) == (0, "127.0.0.1")
    assert made["PASSWORD_HASHERS"] == ["django.contrib.auth.hashers.ScryptPasswordHasher"]
    assert len(made["AUTH_PASSWORD_VALIDATORS"]) == 4
    assert made["SESSION_COOKIE_HTTPONLY"]
    assert made["DATABASES"]["default"]["ENGINE"] == "taskflow.db.sqlite"
    assert "synchronous=FULL" in made["DATABASES"]["default"]["OPTIONS"]["init_command"]


def test_registration_is_closed_in_production_unless_it_is_opened(start):
    assert start()["REGISTRATION"] is False
    assert start(TASKFLOW_REGISTRATION="1")["REGISTRATION"] is True
    assert start(TASKFLOW_REGISTRATION="", TASKFLOW_DEBUG="1")["REGISTRATION"] is False


def test_registration_is_open_for_the_demo(start):
    assert start(TASKFLOW_DEBUG="1")["REGISTRATION"] is True


def test_https_setting_secures_cookies_redirects_and_origins(start):
    made = start(TASKFLOW_HTTPS="1", TASKFLOW_DOMAIN="tasks.example")

    assert made["SESSION_COOKIE_SECURE"]
    assert made["CSRF_COOKIE_SECURE"]
    assert made["SECURE_SSL_REDIRECT"]
    assert made["SECURE_HSTS_SECONDS"] > 0
    assert made["CSRF_TRUSTED_ORIGINS"] == ["https://tasks.example", "https://*.tasks.example"]


def test_check_for_deployment_has_no_warning_with_https(start, settings):
    """A warning that an operator cannot act on hides the others."""
    for name, value in start(TASKFLOW_HTTPS="1", TASKFLOW_SECRET_KEY=secrets.token_hex(32)).items():
        if name.startswith(("SECURE_", "SESSION_", "CSRF_", "SECRET_", "SILENCED_")):
            setattr(settings, name, value)

    found = run_checks(tags=[Tags.security], include_deployment_checks=True)

    warnings = {message.id for message in found if not message.is_silenced()}
    assert {name for name in warnings if name.startswith("security.")} == set()


def test_secret_key_is_generated_once_and_readable_by_its_owner_only(start, tmp_path):
    old = os.umask(0)
    try:
        first, second = start(), start()
    finally:
        os.umask(old)

    assert first["SECRET_KEY"] == second["SECRET_KEY"]
    assert len(first["SECRET_KEY"]) >= 50
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
    assert start(TASKFLOW_SECRET_KEY="given")["SECRET_KEY"] == "given"


def test_a_secret_key_that_cannot_be_read_stops_the_start(start, tmp_path):
    (tmp_path / "secret_key").mkdir()

    with pytest.raises(ImproperlyConfigured, match=r"secret_key \(Is a directory\)"):
        start()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TASKFLOW_DEBGU", "1", "Unknown setting TASKFLOW_DEBGU. Settings: "),
        ("TASKFLOW_", "", "Unknown setting"),
        ("TASKFLOW_DEBUG", "ture", "TASKFLOW_DEBUG='ture' is not a boolean. Set it to 1 or 0."),
        ("TASKFLOW_REGISTRATION", "2", "TASKFLOW_REGISTRATION"),
        ("TASKFLOW_HTTPS", "-", "TASKFLOW_HTTPS"),
        ("TASKFLOW_TRUST_PROXY", "1", "such as 127.0.0.1,::1 or 10.0.0.0/8"),
        ("TASKFLOW_TRUST_PROXY", "0", "Leave it out if there is no proxy"),
        ("TASKFLOW_TRUST_PROXY", "127.0.0.1, proxy", "'proxy' does not appear to be"),
        ("TASKFLOW_TRUST_PROXY", "10.0.0.1/8", "has host bits set"),
        ("TASKFLOW_EMAIL_URL", "imap://mail.example", "TASKFLOW_EMAIL_URL"),
        ("TASKFLOW_EMAIL_FROM", "TaskFlow", "TASKFLOW_EMAIL_FROM"),
        ("DATABASE_URL", "mysql://u:hunter2@h/d", "DATABASE_URL"),
        ("DATABASE_URL", "nonsense", "DATABASE_URL"),
        ("DATABASE_URL", "postgres://u:hunter2@h:port/d", "DATABASE_URL"),
        ("DATABASE_URL", "hunter2://x", "DATABASE_URL"),
        ("DATABASE_URL", "sqlite://", "must name a file"),
        ("DATABASE_URL", "sqlite://:memory:", "DATABASE_URL"),
        ("DATABASE_URL", "sqlite:////tmp/x?timeout=1", "must name a file"),
        ("DATABASE_URL", "sqlite:////dev/null/x/y", "/dev/null/x cannot be created"),
        ("DATABASE_URL", "postgres://u@h/", "must name a database"),
        ("DATABASE_URL", "postgres://u@h/d?pool=5", "set pool=true or pool=false"),
        ("DATABASE_URL", "postgres://u@h/d?pooler=maybe", "set pooler=true, =prepared or =false"),
        ("TASKFLOW_DATA_DIR", "/dev/null/x", "/dev/null/x cannot be created"),
        ("TASKFLOW_PROBE_PORT", "65536", "='65536' is not a number from 0 to 65535."),
        ("TASKFLOW_SLOW_REQUEST_MS", "1s", "='1s' is not a number from 0 to 1000000000."),
        ("TASKFLOW_SLOW_REQUEST_MS", "-1", "='-1' is not a number from 0 to"),
        (
            "TASKFLOW_LOG_LEVEL",
            "loud",
            "TASKFLOW_LOG_LEVEL='LOUD' is not allowed. Set it to one of DEBUG",
        ),
    ],
)
def test_invalid_setting_is_refused_at_startup(start, name, value, message):
    with pytest.raises(ImproperlyConfigured) as raised:
        start(**{name: value})

    assert message in str(raised.value)


def test_refusal_of_an_invalid_database_url_does_not_contain_its_password(start):
    for url in (
        "mysql://u:hunter2@h/d",
        "postgres://u:hunter2@h:port/d",
        "x://u:hunter2@h/d",
        "postgres://u:hunter2/x@h/d",
        "postgres://u:hunter2#x@h/d",
        "postgres://u:hunter2?x@h/d",
        "postgres://u:hunter2[@h/d",
        "postgres://u:hunter2@h/d?pool=x",
        "postgres://u:hunter2@h/",
    ):
        with pytest.raises(ImproperlyConfigured) as raised:
            start(DATABASE_URL=url)
        assert "hunter2" not in str(raised.value), url


@pytest.mark.parametrize(
    ("url", "max_age", "pool"),
    [
        ("postgres://u:p@h/d", None, None),
        ("postgres://u:p@h/d?pool=true", 0, 12),
        ("postgres://u:p@h/d?pool=false", None, None),
        ("postgres://u@%2Ftmp%2Fsocket/d", None, None),
    ],
)
def test_postgresql_url_sets_pool_connection_age_and_timeouts(start, url, max_age, pool):
    made = start(DATABASE_URL=url)["DATABASES"]["default"]

    assert made["ENGINE"] == "taskflow.db.postgresql"
    assert made["CONN_MAX_AGE"] == max_age
    assert made["OPTIONS"].get("pool_size") == pool
    assert "pool" not in made["OPTIONS"], "Django would use psycopg's pool"
    assert made["OPTIONS"]["connect_timeout"] == 3
    assert made["OPTIONS"]["tcp_user_timeout"] == 5_000
    for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        assert limit in made["OPTIONS"]["options"]


@pytest.mark.parametrize(
    ("url", "pooler"),
    [
        ("postgres://h/d", False),
        ("postgres://h/d?pooler=true", True),
        ("postgres://h/d?pooler=prepared", "prepared"),
        ("sqlite:///x", False),
    ],
)
def test_pooler_is_named_in_the_url(start, url, pooler):
    made = start(DATABASE_URL=url)

    assert made["POOLER"] == pooler
    assert "pooler" not in made["DATABASES"]["default"].get("OPTIONS", {})


def test_postgresql_url_may_name_several_servers_for_a_failover(start):
    url = "postgres://u:p@db1,db2/d?target_session_attrs=read-write"
    made = start(DATABASE_URL=url)["DATABASES"]["default"]

    assert made["HOST"] == "db1,db2"
    assert made["OPTIONS"]["target_session_attrs"] == "read-write"


def test_connection_to_a_pooler_begins_without_options(start):
    """PgBouncer refuses them: each transaction begins with these settings instead."""
    made = start(DATABASE_URL="postgres://h/d?pooler=true")

    assert "options" not in made["DATABASES"]["default"]["OPTIONS"]
    assert made["SERVER_SETTINGS"]["statement_timeout"] == "5s"


@pytest.mark.parametrize(
    ("value", "read"),
    [
        *((yes, True) for yes in ("1", "TRUE", " yes ", "on")),
        *((no, False) for no in ("0", "False", "no", "off", "")),
    ],
)
def test_boolean_setting_accepts_the_usual_words(monkeypatch, value, read):
    monkeypatch.setattr(env, "_names_read", set())
    monkeypatch.setenv("DATABASE_X", value)

    assert env.read_boolean("DATABASE_X", default=not read) is read


def test_list_setting_is_split_at_commas(monkeypatch):
    monkeypatch.setattr(env, "_names_read", set())
    monkeypatch.setenv("DATABASE_X", " a, b ,,c")

    assert env.read_list("DATABASE_X") == ["a", "b", "c"]
    assert env.read_list("DATABASE_Y", "d") == ["d"]
