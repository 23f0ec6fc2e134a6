"""All settings. They are read from the environment once; README lists the variables."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from taskflow import admin_menu, env
from taskflow.db.sqlite.files import PRIVATE_DIRECTORY, protect
from taskflow.front.limits import DATABASE_CONNECTIONS
from taskflow.logging import has_traceback
from taskflow.mail.email_url import parse_email_url, parse_sender

BASE_DIR = Path(__file__).resolve().parent.parent
DEFAULT_DATA_DIR = env.find_data_directory(BASE_DIR)
DATA_DIR = Path(env.read_text("TASKFLOW_DATA_DIR", str(DEFAULT_DATA_DIR)))

DEBUG = env.read_boolean("TASKFLOW_DEBUG", default=False)
# Raise an error when a rule of a change reads a column that the change does not declare. It costs
# time, so it is off in production. Tests turn it on.
DECLARED_READS_ONLY = DEBUG
SECRET_KEY = env.read_or_create_secret("TASKFLOW_SECRET_KEY", DATA_DIR / "secret_key")
if DATA_DIR == DEFAULT_DATA_DIR:  # another directory may be shared, as /tmp is
    protect(DATA_DIR, PRIVATE_DIRECTORY)

# The host of a tenant is <subdomain>.DOMAIN. A host without a subdomain is the default tenant's.
DOMAIN = env.read_text("TASKFLOW_DOMAIN", "localhost").lower()
DEFAULT_TENANT = env.read_text("TASKFLOW_DEFAULT_TENANT", "acme")
ALLOWED_HOSTS = [
    f".{DOMAIN}",
    *env.read_list("TASKFLOW_ALLOWED_HOSTS", "127.0.0.1,[::1]"),
]
# Whether anyone may create a tenant. In production, `manage.py create_tenant` does.
REGISTRATION = env.read_boolean("TASKFLOW_REGISTRATION", default=DEBUG)
HTTPS = env.read_boolean("TASKFLOW_HTTPS", default=False)
# The proxies whose X-Forwarded-For and X-Forwarded-Proto count: taskflow/http/addresses.py.
TRUST_PROXY = env.read_networks("TASKFLOW_TRUST_PROXY")

# The port in the links of mails; 0 for that of HTTP or HTTPS. `serve` sets it with DEBUG on.
LINK_PORT = env.read_integer("TASKFLOW_LINK_PORT", default=0, maximum=65_535)

_mail = parse_email_url(env.read_text("TASKFLOW_EMAIL_URL") or ("console:" if DEBUG else "none:"))
SENDS_MAIL = _mail.sends_mail
EMAIL_BACKEND = _mail.email_backend
EMAIL_HOST, EMAIL_PORT = _mail.email_host, _mail.email_port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.email_host_user, _mail.email_host_password
EMAIL_USE_TLS, EMAIL_USE_SSL = _mail.email_use_tls, _mail.email_use_ssl
EMAIL_FILE_PATH = _mail.email_file_path
EMAIL_TIMEOUT = 5  # seconds for each answer of the mail server
EMAIL_USE_LOCALTIME = False
# Of all mails: the language of their readers is not stored.
MAIL_LANGUAGE = env.read_choice("TASKFLOW_MAIL_LANGUAGE", "EN", ("EN", "DE")).lower()
DEFAULT_FROM_EMAIL = parse_sender(
    env.read_text("TASKFLOW_EMAIL_FROM") or f"TaskFlow <taskflow@{DOMAIN}>"
)

INSTALLED_APPS = [
    # Our apps come first, so that their commands and templates replace those of the packages.
    "taskflow",
    "taskflow.audit",
    "accounts",
    "tasks",
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "taskflow.admin.apps.TaskflowAdminConfig",  # django.contrib.admin with our own site
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "ninja",
]
MIDDLEWARE = [
    "taskflow.http.middleware.RequestMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "taskflow.http.middleware.StaticFiles",
    "taskflow.http.middleware.Cors",
    "taskflow.http.middleware.Sessions",
    "taskflow.http.middleware.Common",
    "taskflow.http.middleware.Language",
    "taskflow.mcp.middleware.McpMiddleware",
    "accounts.middleware.TenantMiddleware",
    "taskflow.admin.text.AdminTextMiddleware",
    "taskflow.http.middleware.Csrf",
    "taskflow.http.middleware.Authentication",
    "taskflow.http.middleware.Messages",
]
ROOT_URLCONF = "taskflow.urls"
WSGI_APPLICATION = "taskflow.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [
                ("django.template.loaders.cached.Loader", ["taskflow.admin.template_loader.Loader"])
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# True or "prepared" where PostgreSQL is reached through a pooler that works by transaction.
POOLER: bool | str = False
DATABASE_URL = env.read_text("DATABASE_URL") or f"sqlite:///{DATA_DIR / 'taskflow.sqlite3'}"
_SQLITE: dict[str, Any] = {
    # Writers wait at BEGIN instead of failing later. Reads use DEFERRED (taskflow/tenancy/unit.py).
    "transaction_mode": "IMMEDIATE",
    "timeout": 5,  # seconds
    "cached_statements": 256,  # parsing a statement costs more than running it
    # FULL: with NORMAL, a power failure loses transactions that were acknowledged.
    # cache_size: KiB for each of about 24 connections; the system caches the file besides.
    # secure_delete: deleted content is overwritten, so that erasure reaches it.
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-4000;"
    "PRAGMA secure_delete=ON;",
}
SERVER_SETTINGS = {
    "statement_timeout": "5s",
    "lock_timeout": "3s",
    # An abandoned transaction would keep its row locks, and delay the event feed.
    "idle_in_transaction_session_timeout": "10s",
    # For SSDs: reading an index in its order costs little more than reading a table.
    "random_page_cost": "1.1",
}
# Planning costs more than running most queries. Prepared statements are planned once.
_PLANNED_ONCE = {"plan_cache_mode": "force_generic_plan"}
# Without these, libpq waits without limit. What ends the wait for an answer of a server that is
# frozen, but reachable, is taskflow/db/postgresql/deadlines.py.
_POSTGRESQL: dict[str, Any] = {
    "application_name": "taskflow",
    "connect_timeout": 3,  # seconds
    "tcp_user_timeout": 5_000,  # milliseconds until what was sent has to be confirmed
    "keepalives_idle": 5,  # seconds; keepalives notice a lost server while a connection is idle
    "keepalives_interval": 2,  # seconds
    "keepalives_count": 2,
}
try:
    _database: dict[str, Any] = dict(dj_database_url.parse(DATABASE_URL, conn_max_age=None))
except ValueError as error:
    raise ImproperlyConfigured(f"DATABASE_URL cannot be parsed: {error}") from None
if _database["ENGINE"] == "django.db.backends.sqlite3":
    if _database["NAME"] == ":memory:" or _database.get("OPTIONS"):
        raise ImproperlyConfigured(
            "DATABASE_URL must name a file, as in sqlite:////srv/data.sqlite3."
        )
    # The directory in DATABASE_URL keeps its mode. The file gets the mode 600.
    env.make_directory(Path(_database["NAME"]).parent)
    _database["ENGINE"] = "taskflow.db.sqlite"
    _database["OPTIONS"] = _SQLITE
    # A file, because threads would share one in-memory database and ignore the busy timeout.
    _database["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
elif _database["ENGINE"] == "django.db.backends.postgresql":
    _database["ENGINE"] = "taskflow.db.postgresql"
    _database["OPTIONS"] = _POSTGRESQL | _database.get("OPTIONS", {})
    if not isinstance(_database["OPTIONS"].get("pool", True), bool):
        raise ImproperlyConfigured("DATABASE_URL: set pool=true or pool=false.")
    if not _database["NAME"] and "service" not in _database["OPTIONS"]:
        raise ImproperlyConfigured("DATABASE_URL must name a database: postgres://user@host/name.")
    # ?pooler=true: no transaction relies on another. Poolers refuse `options` at the start of a
    # connection, so that each transaction begins with SERVER_SETTINGS.
    POOLER = _database["OPTIONS"].pop("pooler", False)
    if POOLER not in (True, False, "prepared"):
        raise ImproperlyConfigured("DATABASE_URL: set pooler=true, =prepared or =false.")
    if POOLER == "prepared":
        SERVER_SETTINGS |= _PLANNED_ONCE
    elif not POOLER:
        _options = [f"-c {n}={value}" for n, value in (SERVER_SETTINGS | _PLANNED_ONCE).items()]
        _database["OPTIONS"].setdefault("options", " ".join(_options))
    _database["CONN_HEALTH_CHECKS"] = True
    if _database["OPTIONS"].pop("pool", False):  # the pool keeps and checks connections
        _database["CONN_MAX_AGE"] = 0
        # One for each thread of a worker, so that none waits for another.
        _database["OPTIONS"]["pool_size"] = DATABASE_CONNECTIONS
else:
    raise ImproperlyConfigured("DATABASE_URL must start with sqlite:// or postgres://.")
DATABASES = {"default": _database}
# No table for Django's admin log: it would reference accounts_user (id), and on PostgreSQL the key
# of a user is (tenant_id, id). The admin's history is read from the event log.
MIGRATION_MODULES = {"admin": None}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.auth.TenantBackend"]
# One hasher only: with two, the response time would show which one a user's password has.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.ScryptPasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "handle", "full_name")},
    },
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
# E-mail and handle are unique per tenant, by constraints. No user is looked up across tenants.
# `check --deploy`: RequestMiddleware sets the headers of W002, W006 and W022, and a subclass of
# Django's middleware checks CSRF (W003). The domain may have hosts that are not TaskFlow's, so HSTS
# leaves its subdomains out (W005, W021); each host of a tenant sends the header itself.
# taskflow.W112 replaces three about HTTPS (W004, W008, W010).
SILENCED_SYSTEM_CHECKS = ["auth.E003", "auth.W004"] + [
    f"security.W{number:03}" for number in (2, 3, 4, 5, 6, 8, 10, 21, 22)
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

# Of what is no page of the admin: the API, MCP, logs and commands are English for everybody.
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
USE_I18N = True
FORMAT_MODULE_PATH = "taskflow.formats"
# The language that a person has chosen for the pages, in this browser.
LANGUAGE_COOKIE_NAME = "taskflow_language"
LANGUAGE_COOKIE_AGE = int(timedelta(days=365).total_seconds())
LANGUAGE_COOKIE_HTTPONLY = True
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_SECURE = HTTPS
USE_TZ = True
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
FAVICON = admin_menu.FAVICON
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "taskflow.http.static_files.HashedStorage"},
}

# To whom weaknesses are reported: /.well-known/security.txt is 404 without it.
SECURITY_CONTACT = env.read_contacts("TASKFLOW_SECURITY_CONTACT")
# A session of the admin ends after so long without use, and at the latest after its lifetime.
SESSION_IDLE = timedelta(minutes=env.read_integer("TASKFLOW_SESSION_IDLE_MINUTES", default=120))
SESSION_LIFETIME = timedelta(hours=env.read_integer("TASKFLOW_SESSION_HOURS", default=12))
SESSION_COOKIE_AGE = int(SESSION_LIFETIME.total_seconds())
SESSION_COOKIE_NAME = "taskflow_session"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_NAME = "taskflow_csrf"
CSRF_TRUSTED_ORIGINS = [f"https://{DOMAIN}", f"https://*.{DOMAIN}"] if HTTPS else []
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^livez$", r"^readyz$"]
# RequestMiddleware sets these headers. SecurityMiddleware redirects to HTTPS.
SECURE_CONTENT_TYPE_NOSNIFF = False
SECURE_REFERRER_POLICY = SECURE_CROSS_ORIGIN_OPENER_POLICY = None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
CORS_ALLOWED_ORIGINS = env.read_list("TASKFLOW_CORS_ORIGINS")
CORS_URLS_REGEX = r"^/(api/|mcp$)"
CORS_ALLOW_HEADERS = [
    "authorization",
    "claim",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "prefer",
    "x-on-behalf-of",
    "x-reason",
    "x-request-id",
    "x-tenant",
]
CORS_EXPOSE_HEADERS = [
    "dry-run",
    "etag",
    "idempotency-replayed",
    "location",
    "preference-applied",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "www-authenticate",
    "x-request-id",
]
# The most that a tenant may have, by name. What is not limited is left out.
QUOTAS: dict[str, int] = {}
for _quota in (
    *("projects", "tasks", "comments", "pages", "tags", "users", "tokens", "webhooks"),
    *("views", "text_bytes"),
):
    _limit = env.read_limit(f"TASKFLOW_MAX_{_quota.upper()}")
    if _limit is not None:
        QUOTAS[_quota] = _limit
# Requests in a minute: taskflow/http/request_limits.py. None: no limit.
REQUESTS_PER_TOKEN = env.read_limit("TASKFLOW_REQUESTS_PER_TOKEN")
REQUESTS_PER_TENANT = env.read_limit("TASKFLOW_REQUESTS_PER_TENANT")
# Days for which events are kept. None: for ever. See docs/events.md.
EVENT_RETENTION_DAYS = env.read_limit("TASKFLOW_EVENT_RETENTION_DAYS", minimum=30)
# Networks to which webhooks may be sent although they are private, also without https.
WEBHOOK_ALLOW = env.read_networks(
    "TASKFLOW_WEBHOOK_ALLOW", "the networks of your own receivers, such as 10.1.2.0/24"
)
# Whether `serve` runs a process that sends webhooks. Otherwise run `manage.py deliver`.
DELIVER = env.read_boolean("TASKFLOW_DELIVER", default=True)
# Whether `serve` runs a process for timed tasks. Otherwise run `manage.py run_scheduled`.
SCHEDULE = env.read_boolean("TASKFLOW_SCHEDULE", default=True)
MAX_BODY_BYTES = 1_048_576  # more is answered 413
MAX_FILE_BYTES = 4 * MAX_BODY_BYTES  # of a file that is imported
FILE_PATHS = re.compile(r"/api/v1/projects/[^/]+/(imports|tasks\.csv)|/admin/import/")
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_FILE_BYTES  # taskflow/http/bodies.py enforces MAX_BODY_BYTES

UNFOLD = admin_menu.UNFOLD

# The port for /metrics, /livez and /readyz; 0 for none.
PROBE_PORT = env.read_integer("TASKFLOW_PROBE_PORT", default=0, maximum=65_535)
PROBE_HOST = env.read_text("TASKFLOW_PROBE_HOST", "127.0.0.1")
# From which time on, the wait for a thread included, the line of a request is a warning.
SLOW_REQUEST_SECONDS = env.read_integer("TASKFLOW_SLOW_REQUEST_MS", default=1_000) / 1000
LOG_LEVEL = env.read_choice(
    "TASKFLOW_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
)
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "taskflow.logging.JsonFormatter"}},
    "filters": {
        "has traceback": {"()": "django.utils.log.CallbackFilter", "callback": has_traceback}
    },
    "handlers": {
        "stdout": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": "json",
        },
    },
    "root": {"handlers": ["stdout"], "level": "WARNING"},
    "loggers": {
        "taskflow": {"level": LOG_LEVEL},
        # Each request has a line in taskflow.request. This logger would repeat those of errors.
        "django.request": {"level": "ERROR", "filters": ["has traceback"]},
        # It would log a traceback for a request that is answered with 400: one with an unknown host
        # or too many parameters.
        "django.security": {"handlers": [], "propagate": False},
        "django.server": {"handlers": [], "propagate": False},
        "django": {"handlers": [], "level": "WARNING"},
    },
}

env.refuse_unknown_names()
