"""Undocumented APIs that product code uses are listed in docs/internals.md, and still work.

Each smoke test states what an upgrade has changed and what to do. The listing is compared with the
source by taskflow/tests/internals.py.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import time
from contextlib import closing
from http.client import HTTPConnection
from io import BytesIO
from ipaddress import ip_network
from pathlib import Path

import django.contrib.admin
import pytest
import unfold
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.admin.views.main import ALL_VAR, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.cache import close_caches
from django.core.handlers.base import reset_urlconf
from django.core.handlers.wsgi import WSGIHandler
from django.core.management.commands.flush import Command as Flush
from django.core.management.commands.migrate import Command as Migrate
from django.core.signals import request_finished
from django.db import DEFAULT_DB_ALIAS, connection, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.postgresql.base import DatabaseWrapper as PostgresWrapper
from django.db.backends.sqlite3.base import DatabaseWrapper, SQLiteCursorWrapper
from django.db.backends.sqlite3.schema import DatabaseSchemaEditor
from django.db.backends.utils import debug_transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.models.base import ModelState
from django.db.models.deletion import Collector
from django.db.models.expressions import BaseExpression, DatabaseDefault
from django.db.models.sql import InsertQuery, UpdateQuery
from django.forms import modelform_factory
from django.http import HttpResponse
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from django.http.request import split_domain_port
from django.test import RequestFactory
from django.urls import URLResolver
from ninja import NinjaAPI, Router
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.schema import NinjaGenerateJsonSchema
from ninja.utils import check_csrf
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.errors import UndefinedTable, error_from_result
from psycopg.generators import execute
from psycopg.pq import ExecStatus
from psycopg.types.datetime import TimestamptzLoader
from pydantic import MISSING, create_model
from unfold import utils as unfold_utils
from unfold.forms import AuthenticationForm, PaginationInlineFormSet
from unfold.templatetags import unfold_list

from accounts.models import User
from taskflow import wsgi
from taskflow.audit.locks import LockMode, add_row_lock
from taskflow.audit.models import Event
from taskflow.db.columns import columns_of
from taskflow.db.postgresql.transaction import OutermostTransaction
from taskflow.db.postgresql.transports import PipelineTransport
from taskflow.http.request import Request
from taskflow.tenancy import TenantQuerySet, inside
from taskflow.tests.internals import find_uses, read_rows
from taskflow.tests.server import free_port
from taskflow.tests.test_architecture import ROOT
from tasks.models import Project, ProjectMember, Tag, Task

pytestmark = pytest.mark.one_database

DOCUMENT = ROOT / "docs" / "internals.md"
DOMAIN = ("accounts/actions", "tasks/changes", "tasks/actions", "tasks/queries", "tasks/api")
on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="psycopg needs PostgreSQL"
)


# ---- the list ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows():
    return read_rows(DOCUMENT.read_text())


@pytest.fixture(scope="module")
def uses():
    return sorted(find_uses())


@pytest.mark.slow
def test_every_use_of_an_undocumented_api_is_listed(rows, uses):
    unlisted = [
        f"{name} in {file}"
        for file, name in uses
        if not any(row.has_name(name) and row.has_file(file) for row in rows)
    ]

    assert not unlisted, "Use a documented API, or add a row to docs/internals.md and a smoke test."


def test_every_row_of_the_list_is_in_use(rows, uses):
    unused = []
    for row in rows:
        matching = [
            (file, name) for file, name in uses if row.has_name(name) and row.has_file(file)
        ]
        unused += set(row.names) - {name for _file, name in matching}
        unused += [f for f in row.files if not any(f in (u[0], u[0][: len(f)]) for u in matching)]

    assert not unused, "Remove these from docs/internals.md."


def test_every_row_of_the_list_has_a_smoke_test(rows):
    functions = {name for name in globals() if name.startswith("test_")}
    about_the_list = {
        name for name in functions if name.startswith(("test_every_", "test_domain_"))
    }

    assert {row.test for row in rows} == functions - about_the_list


def test_domain_code_uses_no_undocumented_api(uses):
    assert [use for use in uses if use[0].startswith(DOMAIN)] == []


# ---- Django: requests and the admin --------------------------------------------------------------


def test_request_ignores_the_charset_of_its_content_type():
    environ = RequestFactory().get("/?q=%C3%84").environ

    request = Request(environ | {"CONTENT_TYPE": "text/plain; charset=latin-1"})

    assert request.GET["q"] == "Ä", (
        "Request._set_content_type_params is not called any more. See how WSGIRequest chooses the"
        " encoding of the query string."
    )
    assert request.content_params == {"charset": "latin-1"}, "content_params is set elsewhere now."


def test_scheme_of_a_request_is_that_of_a_named_proxy(settings):
    settings.TRUST_PROXY = (ip_network("127.0.0.0/8"),)
    sent = {"HTTP_X_FORWARDED_PROTO": "https"}

    requests = [
        Request(RequestFactory().generic("GET", "/", REMOTE_ADDR=remote, **sent).environ)
        for remote in ("127.0.0.1", "203.0.113.9")
    ]

    assert [request.is_secure() for request in requests] == [True, False], (
        "Request._get_scheme is not called any more. See how is_secure() finds the scheme."
    )


def test_wsgi_handler_creates_requests_of_its_request_class():
    assert WSGIHandler.request_class, "Find how WSGIHandler creates requests now."
    assert wsgi.handler.request_class is Request, "taskflow/wsgi.py has to set our class."
    assert isinstance(wsgi.handler, WSGIHandler)
    started = inspect.getsource(WSGIHandler.__call__)
    for step in ("request_started.send", "get_response", "Set-Cookie", "start_response"):
        assert step in started, "Compare Handler.__call__() in taskflow/wsgi.py with Django's."


def test_resolver_lists_its_urls():
    assert URLResolver.url_patterns, "Adapt GroupedResolver in taskflow/http/urls.py."


def test_caches_are_not_closed_after_requests():
    was_connected = request_finished.disconnect(close_caches)

    assert not was_connected, "Disconnect what closes caches after a request in taskflow/wsgi.py."


def test_urls_are_not_reset_after_requests():
    was_connected = request_finished.disconnect(reset_urlconf)

    assert not was_connected, "Disconnect what resets the URLs after a request in taskflow/wsgi.py."


def test_headers_of_a_response_are_stored_by_their_names_in_lower_case():
    stored = HttpResponse(headers={"X-Frame-Options": "DENY", "Content-Type": "a/b"}).headers._store

    assert stored == {
        "x-frame-options": ("X-Frame-Options", "DENY"),
        "content-type": ("Content-Type", "a/b"),
    }, "Adapt set_headers() in taskflow/http/middleware.py."


def test_body_that_was_read_is_kept_in_these_attributes():
    form = RequestFactory().post("/", {"a": "1"})
    before = set(vars(form))
    assert form.POST["a"] == "1"
    with_body = RequestFactory().post("/", "{}", "application/json")
    assert with_body.body == b"{}"

    added = (set(vars(form)) | set(vars(with_body))) - before
    expected = {"_body", "_files", "_post"}
    assert expected <= added, f"{added}: name what holds a body in contention.BODY_ATTRIBUTES."
    assert {"_read_started", "_stream"} <= set(vars(with_body)), "The same: see contention.py."


def test_multipart_parser_returns_fields_and_files():
    body = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'
    meta = {"CONTENT_TYPE": "multipart/form-data; boundary=x", "CONTENT_LENGTH": len(body)}

    fields, files = MultiPartParser(meta, BytesIO(body), [], "latin-1").parse()

    assert (fields["a"], len(files)) == ("1", 0), "Adapt taskflow/admin/text.py."
    with pytest.raises(MultiPartParserError):
        MultiPartParser({"CONTENT_TYPE": "multipart/form-data"}, BytesIO(), [], "latin-1")


def test_host_and_port_can_be_split():
    assert split_domain_port("acme.localhost:8000") == ("acme.localhost", "8000"), (
        "Adapt named_subdomain() in accounts/auth.py."
    )


def test_admin_lists_are_searched_by_q():
    assert SEARCH_VAR == "q", "Links in templates and docs use ?q=."
    assert {ORDER_VAR, PAGE_VAR, ALL_VAR} == {"o", "p", "all"}


def test_admin_ids_can_be_unquoted():
    assert unquote("a_2Fb") == "a/b", "Adapt history_view in accounts/admin/recorded.py."


def test_model_form_excludes_fields_that_it_does_not_have(fixtures):
    form = modelform_factory(Tag, fields=["name"])(data={})
    with inside(fixtures.acme):
        assert "name" in form.errors

    assert "tenant" in form._get_validation_exclusions(), (
        "Forms of the admin have to check unique rules, which begin with the tenant: see RecordedForm."
    )


def test_session_hash_is_made_by_one_method():
    parameters = inspect.signature(AbstractBaseUser._get_session_auth_hash).parameters
    user = User(handle="a", password="x")

    assert list(parameters) == ["self", "secret"], "Adapt User._get_session_auth_hash()."
    assert user.get_session_auth_hash() == user._get_session_auth_hash(), (
        "Sessions are checked by another method now. Ending sessions has to change its result."
    )


# ---- Django: models and SQL ----------------------------------------------------------------------


def test_local_fields_are_the_columns_of_a_table():
    assert list(Task._meta.local_fields) == list(columns_of(Task)), (
        "Find the fields that a model has when its class is complete: _add_constraints() in"
        " taskflow/tenancy/models.py."
    )


def test_loaded_rows_are_in_the_cache_of_a_row(fixtures):
    with inside(fixtures.acme):
        row = (
            Task.objects.select_related("project").prefetch_related("tags").get(pk=fixtures.task.pk)
        )

    assert row._state.fields_cache["project"] == row.project, "Find where related rows are cached."
    assert "tags" in vars(row)["_prefetched_objects_cache"], "Find where prefetched rows are kept."


def test_value_of_a_database_default_is_marked():
    assert isinstance(Event().sequence, DatabaseDefault), (
        "taskflow/db/writes.py has to leave out columns that the database fills in."
    )


def test_unsaved_related_rows_are_refused():
    with pytest.raises(ValueError, match="unsaved related object"):
        Task(project=Project())._prepare_related_fields_for_save(operation_name="bulk_create")


def test_insert_can_be_compiled():
    fields = [f for f in columns_of(Tag) if not f.primary_key]
    query = InsertQuery(Tag)
    query.insert_values(fields, [Tag(name="a")], raw=True)
    compiler = query.get_compiler(connection=connection)
    compiler.returning_fields = Tag._meta.db_returning_fields

    ((sql, _params),) = compiler.as_sql()

    assert sql.startswith('INSERT INTO "tasks_tag"'), "Adapt _insertion() in taskflow/db/writes.py."
    assert 'RETURNING "tasks_tag"."id"' in sql, "Adapt _insertion() in taskflow/db/writes.py."


def test_update_can_be_compiled():
    query = models.QuerySet(Tag).query.chain(UpdateQuery)
    query.add_update_values({"name": "a"})

    sql, params = query.get_compiler(connection=connection).as_sql()

    assert (sql, params) == ('UPDATE "tasks_tag" SET "name" = %s', ("a",)), (
        "Adapt _setting() in taskflow/db/writes.py."
    )


def test_queryset_can_be_compiled_and_its_rows_converted():
    query = models.QuerySet(Tag).values_list("created_at").query
    compiler = query.get_compiler(connection=connection)
    compiler.as_sql()

    converters = compiler.get_converters([expression for expression, _, _ in compiler.select])

    assert list(compiler.apply_converters([[None]], converters)) == [[None]], (
        "Adapt how taskflow/db/query.py reads rows."
    )


def test_compiler_describes_how_objects_are_built():
    query = models.QuerySet(Task).select_related("project").query
    compiler = query.get_compiler(connection=connection)
    compiler.as_sql()
    (related,) = compiler.klass_info["related_klass_infos"]

    assert {"model", "select_fields"} <= compiler.klass_info.keys(), "Adapt taskflow/db/query.py."
    assert compiler.annotation_col_map == {}, "Adapt how taskflow/db/query.py sets annotations."
    assert {"local_setter", "remote_setter"} <= related.keys(), "Adapt taskflow/db/query.py."
    assert {"adding", "db"} <= set(dir(ModelState)), "Adapt how taskflow/db/query.py makes rows."


def test_select_for_update_can_become_for_share(db):
    rows = models.QuerySet(Tag).all()
    expected = "FOR SHARE OF" if connection.vendor == "postgresql" else ""

    sql = str(add_row_lock(rows, LockMode.SHARE).query)

    assert expected in sql, f"_ShareCompiler in taskflow/audit/locks.py has no effect: {sql}"
    assert "FOR NO KEY UPDATE" not in sql, "Adapt _ShareCompiler in taskflow/audit/locks.py."


def test_query_lists_its_annotations():
    query = models.QuerySet(Tag).annotate(_item=models.F("name")).values_list("_item").query

    assert "_item" in query.annotation_select, "Adapt JsonList in taskflow/db/expressions.py."
    assert isinstance(models.Func(), BaseExpression), "Import the base of Func from its new place."


def test_rows_can_be_deleted_without_a_collector(fixtures):
    with inside(fixtures.acme):
        assert Tag.objects.filter(pk=0)._raw_delete(connection.alias) in (0, None), (
            "Delete with a DeleteQuery in TenantQuerySet.delete() and TaskCountDelta.merge()."
        )


def test_manager_inserts_rows_as_they_are():
    parameters = inspect.signature(models.Manager._insert).parameters

    assert {"objs", "fields", "raw", "using"} <= set(parameters), (
        "Adapt _insert() in tasks/export/importing.py. It must not set any value."
    )


def test_collector_takes_rows_and_their_origin():
    Collector(using=connection.alias, origin=Tag()).collect([])

    message = "Adapt TenantQuerySet.delete()."
    assert {"using", "origin"} <= set(inspect.signature(Collector).parameters), message


def test_joins_compare_the_tenants():
    sql = str(models.QuerySet(Task).select_related("project").query)

    assert '"tasks_task"."tenant_id" = ("tasks_project"."tenant_id")' in sql or (
        '"tasks_project"."tenant_id" = ("tasks_task"."tenant_id")' in sql
    ), f"TenantFK.get_extra_restriction() has no effect: {sql}"


def test_manager_returns_querysets_of_its_class(fixtures):
    with inside(fixtures.acme):
        rows = Tag.objects.all()

    assert isinstance(rows, TenantQuerySet), "Use from_queryset() for TenantManager."


def test_options_keep_the_original_constraints():
    original = ProjectMember._meta.original_attrs

    assert "tasks_projectmember_rls" in {c.name for c in original["constraints"]}, (
        "makemigrations reads constraints elsewhere: adapt add_constraint()."
    )
    assert {names[0] for names in original["unique_together"]} == {"tenant"}, (
        "makemigrations reads unique_together elsewhere: adapt _add_constraints()."
    )


def test_schema_editors_defer_sql():
    with BaseDatabaseSchemaEditor(connection, collect_sql=True, atomic=False) as editor:
        assert editor.deferred_sql == [], "Adapt taskflow/tenancy/constraints.py."


def test_sqlite_tables_can_be_remade():
    parameters = inspect.signature(DatabaseSchemaEditor._remake_table).parameters

    assert list(parameters)[:2] == ["self", "model"], "Adapt CompositeFK."


# ---- Django: connections and commands ------------------------------------------------------------


def test_connection_has_the_attributes_that_we_use(db):  # db: some exist once it is connected
    names = ["execute_wrappers", "queries_logged", "queries_log", "force_debug_cursor"]
    names += ["wrap_database_errors", "validate_no_broken_transaction", "savepoint_ids"]
    names += ["transaction_mode"] if connection.vendor == "sqlite" else []

    missing = [name for name in names if not hasattr(connection, name)]

    assert not missing, "Adapt the sessions in taskflow/db/postgresql/ and taskflow/db/sqlite/."


def test_postgresql_backend_can_be_subclassed():
    methods = {"get_connection_params", "init_connection_state", "create_cursor", "is_usable"}

    assert methods <= set(vars(PostgresWrapper)), "Adapt taskflow/db/postgresql/base.py."
    for name in ("minimum_database_version", "allows_group_by_selected_pks"):
        assert name in vars(PostgresWrapper.features_class), f"Adapt it there: no {name}."


def test_transactions_are_begun_and_ended_by_these_methods():
    names = {"_commit", "_rollback", "_savepoint_rollback"}

    assert names <= set(vars(BaseDatabaseWrapper)), "Adapt taskflow/db/postgresql/base.py."
    assert "_set_autocommit" in inspect.getsource(BaseDatabaseWrapper.set_autocommit), (
        "Adapt DatabaseWrapper._set_autocommit() in taskflow/db/postgresql/base.py."
    )
    assert callable(debug_transaction), "Log COMMIT and ROLLBACK in another way there."


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite uses atomic() itself")
def test_outermost_transaction_is_that_of_an_atomic_block():
    wrapper = connections[DEFAULT_DB_ALIAS]

    def states_of(block):
        wrapper.ensure_connection()
        states = []
        for must_roll_back in (False, True):
            with block():
                states.append(dict(vars(wrapper)))
                transaction.on_commit(lambda: states.append({"committed": True}))
                transaction.set_rollback(must_roll_back)
            states.append(dict(vars(wrapper)))
        for state in states:
            state.pop("run_on_commit", None)
            state["atomic_blocks"] = len(state.get("atomic_blocks", ()))
        return states

    ours = states_of(lambda: OutermostTransaction(wrapper))

    assert ours == states_of(transaction.atomic), "Adapt taskflow/db/postgresql/transaction.py."


def test_connections_are_made_and_closed_by_these_methods():
    for caller, name in (("connect", "get_new_connection"), ("close", "_close")):
        assert f"self.{name}(" in inspect.getsource(getattr(BaseDatabaseWrapper, caller)), (
            f"Adapt DatabaseWrapper.{name}() in taskflow/db/postgresql/base.py."
        )


def test_sqlite_backend_can_be_subclassed():
    names = {"get_new_connection", "create_cursor", "is_in_memory_db"}

    assert names <= set(dir(DatabaseWrapper)), "Adapt taskflow/db/sqlite/base.py."
    assert {"execute", "executemany"} <= set(vars(SQLiteCursorWrapper)), "Adapt Cursor there."


def test_migration_executor_plans_migrations(db):
    executor = MigrationExecutor(connection)

    assert executor.migration_plan(executor.loader.graph.leaf_nodes()) == [], (
        "Adapt _find_unapplied_migrations() in taskflow/http/health.py."
    )


def test_migration_loader_lists_applied_and_present_migrations(db):
    loader = MigrationLoader(connection)

    assert loader.applied_migrations.keys() <= loader.disk_migrations.keys(), (
        "Adapt find_incompatibility() in taskflow/database_version.py."
    )
    assert ("tasks", "0001_initial") in loader.applied_migrations, "The same."


def test_migration_states_get_indexes_and_constraints_by_one_method():
    assert list(inspect.signature(ProjectState._append_option).parameters) == [
        "self", "app_label", "model_name", "option_name", "obj",
    ], "Adapt taskflow/management/migration_state.py."  # fmt: skip


def test_commands_can_be_extended():
    assert callable(Migrate.handle), "Adapt the command migrate."
    assert callable(Flush.handle), "Adapt the command flush."


# ---- psycopg -------------------------------------------------------------------------------------


def libpq_results(*statements):
    conn = connection.connection
    conn.pgconn.send_query("; ".join(statements).encode())
    return conn.wait(execute(conn.pgconn))


@on_postgresql
def test_psycopg_sends_statements_through_libpq(db):
    connection.ensure_connection()

    results = libpq_results("SELECT 1", "SELECT 2")

    assert [r.get_value(0, 0) for r in results] == [b"1", b"2"], (
        "Adapt TextTransport in taskflow/db/postgresql/transports.py."
    )


@on_postgresql
def test_psycopg_reads_the_results_of_a_pipeline(db):
    connection.ensure_connection()
    transport = PipelineTransport(connection.connection)

    result = transport.send([b"SELECT 1", b"SELECT 2"], result_index=-2)

    assert result.get_value(0, 0) == b"1", (
        "Adapt PipelineTransport in taskflow/db/postgresql/transports.py."
    )


@on_postgresql
def test_psycopg_reads_the_rows_of_a_result(db):
    connection.ensure_connection()
    (result,) = libpq_results("SELECT 1, TIMESTAMPTZ '2026-01-31 09:00Z'")
    adapters = AdaptersMap(connection.connection.adapters)
    adapters.register_loader("timestamptz", TimestamptzLoader)

    class Context:
        pass

    context = Context()
    context.adapters, context.connection = adapters, connection.connection
    transformer = Transformer.from_context(context)
    transformer.set_pgresult(result)

    ((number, timestamp),) = transformer.load_rows(0, 1, tuple)
    assert (number, timestamp.isoformat()) == (1, "2026-01-31T09:00:00+00:00"), (
        "Adapt PostgresSession._read() in taskflow/db/postgresql/session.py."
    )


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_psycopg_makes_an_error_of_a_result():
    connection.ensure_connection()
    (result,) = libpq_results("SELECT * FROM nothing")

    assert result.status == ExecStatus.FATAL_ERROR, (
        "Adapt _error_of() in taskflow/db/postgresql/transports.py."
    )
    assert isinstance(error_from_result(result, encoding="utf-8"), UndefinedTable), (
        "Adapt _error_of() in taskflow/db/postgresql/transports.py."
    )


# ---- django-ninja, pydantic, unfold, granian -----------------------------------------------------


def test_openapi_schema_is_built_by_methods_that_we_replace():
    for name in ("operation_parameters", "_create_schema_from_model", "add_schema_definitions"):
        assert callable(vars(OpenAPISchema).get(name)), (
            f"OpenAPISchema has no {name}(): adapt OpenApiDocument in taskflow/http/components.py."
        )
    parameters = inspect.signature(OpenAPISchema._create_schema_from_model).parameters
    assert list(parameters) == ["self", "model", "by_alias", "remove_level", "mode"]
    for name in ("generate", "get_defs_ref", "default_schema"):
        assert hasattr(NinjaGenerateJsonSchema, name), f"Adapt ComponentGenerator.{name}()."


def test_view_decorators_get_the_bound_run_of_an_operation():
    seen = []
    api, router = NinjaAPI(title="x", urls_namespace="internals"), Router()
    api.add_decorator(lambda run: seen.append(run.__self__) or run, mode="view")

    @router.get("/x", auth=lambda request: True)
    def read(request, word: str = "", number: int = 0):
        """Read."""

    api.add_router("/r", router)
    assert api.urls

    (operation,) = seen
    assert isinstance(operation, Operation), "Adapt refuse_ignored_input()."
    assert operation.auth_callbacks, "Adapt _accepts_preconditions() in taskflow/http/openapi.py."
    (model,) = operation.models
    assert model.__ninja_param_source__ == "query", "Adapt _query_parameters()."
    assert set(model.__ninja_flatten_map__) == {"word", "number"}, "Adapt _query_parameters()."


def test_api_creates_a_temporal_response():
    source = inspect.getsource(Operation.run)

    assert "api.create_temporal_response(request)" in source, (
        "request.prepared_response is not set any more: adapt Api in taskflow/http/openapi.py."
    )


def test_operations_find_out_whether_callables_are_async():
    assert "is_async_callable(callback)" in inspect.getsource(Operation._run_authentication), (
        "Remove the cache of is_async_callable() in taskflow/http/openapi.py."
    )


def test_csrf_check_returns_a_refusal_or_none():
    assert check_csrf(RequestFactory().get("/")) is None, "Adapt SignedIn in accounts/auth.py."
    refusal = check_csrf(RequestFactory(enforce_csrf_checks=True).post("/"))
    assert refusal is not None, "Adapt SignedIn.check_writing(): writes need a CSRF token."
    assert refusal.status_code == 403, "Adapt SignedIn.check_writing()."


def test_missing_fields_differ_from_null():
    model = create_model("Model", word=(str | None | MISSING, MISSING))

    assert model().word is MISSING, "pydantic's MISSING has changed: adapt the In schemas."
    assert model(word=None).word is None, "pydantic's MISSING has changed: adapt the In schemas."
    assert model().model_dump() == {}, "pydantic's MISSING has changed: adapt the In schemas."


def test_sign_in_form_of_unfold_is_that_of_django():
    assert issubclass(AuthenticationForm, AdminAuthenticationForm), (
        "Use the class of Unfold that the sign-in page has now."
    )


def test_inline_formsets_of_unfold_have_pages():
    for name in ("get_pagination_key", "get_page_num"):
        assert hasattr(PaginationInlineFormSet, name), f"Adapt InlineFormSet: no {name}()."


def test_view_of_autocomplete_asks_one_method_for_the_permission():
    source = inspect.getsource(AutocompleteJsonView)

    assert "self.has_perm(request)" in source, "Adapt Autocomplete of taskflow/admin/sites.py."
    assert "self.model_admin" in source, "Adapt Autocomplete of taskflow/admin/sites.py."


# By replaced template: what our own takes from the scripts or the context of Unfold.
REPLACED = {
    "admin/index.html": (),
    "admin/submit_line.html": ("opts.verbose_name", "show_delete_link", "actions_submit_line"),
    "unfold/helpers/app_list.html": ("sidebar_navigation", "group.items", "item.active"),
    "unfold/helpers/change_list_filter.html": ("filterOpen", "preserve_filters", "cl.filter_specs"),
    "unfold/helpers/command.html": ("searchCommand()", "handleShortcut", "command-results"),
    "unfold/helpers/command_results.html": ("command-results-list", "selectItem", "currentIndex"),
    "unfold/helpers/header_title.html": ("part.title", "part.link"),
    "unfold/helpers/messages.html": ("DEFAULT_MESSAGE_LEVELS", "messages/success.html"),
    "unfold/helpers/pagination_default.html": ("paginator_number cl i", "pagination_required"),
    "unfold/helpers/search.html": ("opencommand",),
}


def test_every_replaced_template_is_listed_and_uses_what_the_original_uses():
    packages = [Path(module.__file__).parent for module in (unfold, django.contrib.admin)]
    ours = {
        str(file.relative_to(folder))
        for folder in ROOT.glob("*/templates")
        for file in folder.rglob("*.html")
    }
    originals = {
        name: file
        for name in ours
        for package in reversed(packages)
        if (file := package / "templates" / name).exists()
    }

    assert originals.keys() == REPLACED.keys()
    text = (ROOT / "docs/internals.md").read_text()
    assert [name for name in REPLACED if f"| `{name}` |" not in text] == []
    for name, parts in REPLACED.items():
        original = originals[name].read_text()
        missing = [part for part in parts if part not in original]
        assert missing == [], f"Compare {name} with that of Unfold, and adapt it."


def test_lists_of_unfold_are_made_of_these_functions():
    for function, names in (
        (unfold_list.result_headers, ["cl"]),
        (unfold_utils.display_for_field, ["value", "field", "empty_value_display"]),
        (unfold_utils.display_for_value, ["value", "empty_value_display", "boolean"]),
    ):
        assert [*inspect.signature(function).parameters] == names, function.__name__
    items = inspect.getsource(unfold_list.items_for_result)
    for part in ("lookup_field", "add_preserved_filters", '"boolean"', '"label"', '"header"'):
        assert part in items, f"Compare taskflow/admin/list_rows.py with that of Unfold: {part}"


@pytest.mark.readme
def test_granian_runs_a_worker_for_the_front(tmp_path):
    port = free_port()
    code = """if True:
        import sys
        from taskflow.front.front import Front
        from taskflow.front.listening import listen
        from taskflow.front.worker import run_worker

        def application(environ, start_response):
            start_response("201 Created", [("X-Path", environ["PATH_INFO"])])
            return [environ["wsgi.input"].read()]

        (listener,) = listen("127.0.0.1", int(sys.argv[1]), 1)
        run_worker(Front(application, ()), listener, 1, lambda: None)
    """
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "taskflow.settings"}
    command = [sys.executable, "-c", code, str(port)]
    with subprocess.Popen(command, env=environment, cwd=ROOT) as process:
        try:
            answers = [send_until_answered(port, f"/{n}", b"x" * n) for n in (0, 1, 100_000)]
        finally:
            process.terminate()

    advice = "Adapt taskflow/front/worker.py to granian's RSGI worker."
    assert answers == [(201, f"/{n}", b"x" * n) for n in (0, 1, 100_000)], advice
    assert process.returncode == 0, advice


def send_until_answered(port, path, body):
    for _ in range(300):
        with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            try:
                connection.request("POST", path, body)
            except ConnectionRefusedError:
                time.sleep(0.1)
                continue
            response = connection.getresponse()
            return response.status, response.headers["X-Path"], response.read()
    raise AssertionError("no answer")
