"""The API: the routers of all apps, and the responses to exceptions."""

from __future__ import annotations

import logging

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import Error as DatabaseError
from django.http import Http404, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.urls import register_converter
from ninja.errors import HttpError
from ninja.openapi.docs import Swagger

from accounts.api import me, signing_in, tenant_routes, token_routes, users
from accounts.api_mail import email_changes, password_resets
from accounts.api_second_factors import enrolling, second_factor
from accounts.api_sessions import sessions, user_sessions
from accounts.api_sign_ins import own_sign_ins
from accounts.auth import write_auth
from taskflow.error_codes import ERROR_CODES
from taskflow.guide import API_VERSION, index
from taskflow.http.converters import IdConverter
from taskflow.http.database_errors import respond_to_database_error
from taskflow.http.errors import Problem, problem_of_status, request_log_fields
from taskflow.http.openapi import Api, read_only
from taskflow.http.request import Request
from taskflow.http.sent_names import point_to_sent_names
from taskflow.metrics.definitions import define_series
from taskflow.plans import plans
from tasks.api.claims import claims
from tasks.api.comments import comments
from tasks.api.csv import csv_files
from tasks.api.feed import event_feed
from tasks.api.history import project_history, task_history
from tasks.api.invitations import invitations
from tasks.api.notifications import notifications
from tasks.api.offboarding import offboarding
from tasks.api.pages import pages
from tasks.api.projects import members, projects
from tasks.api.search import searching
from tasks.api.tags import tags
from tasks.api.tasks import tasks
from tasks.api.trash import trash
from tasks.api.undo import undoing
from tasks.api.views import views
from tasks.api.webhooks import deliveries, webhooks

log = logging.getLogger("taskflow.errors")

DESCRIPTION = """\
The dependable task store for people and AI agents.

Send `Authorization: Bearer tf_…` with a token from `POST /api/v1/auth/login` or
`POST /api/v1/tokens`. Paths, filters and bodies take keys such as WEB and WEB-12, handles
such as @ada, and `me`. Errors are RFC 9457 problems with a stable `code`.
"""
# Values of path parameters that exist on the demo.
PATH_EXAMPLES = {
    "project_id": "WEB",
    "task_id": "WEB-1",
    "comment_id": 4,
    "page_id": 1,
    "member_id": 2,
    "tag_id": 1,
    "token_id": 1,
    "session_id": 1,
    "user_id": "@bob",
    "invitation_id": 1,
    "claim_id": 1,
    "view_id": 1,
    "webhook_id": 1,
    "delivery_id": 1,
    "notification_id": 1,
    "kind": "task",
    "row_id": 1,
    "ref": "erp-77",
}
# What updated_response() answers, and leaves out for a client that prefers return=minimal.
MINIMAL_ROWS = frozenset({"TaskResponse", "ProjectResponse", "PageResponse", "CommentResponse"})
# The groups of operations, in the order of the document.
TAGS = {
    "Tasks": "Create, find and change tasks, one by one or many at once.",
    "Projects": "Projects contain tasks, pages and members, and give tasks their keys.",
    "Signing in": "Get a token, and give it back.",
    "Me": "Your own user.",
    "Second factor": "The codes of an app, which signing in needs beside the password.",
    "Sessions": "The sign-ins of a person, of browsers and of programs.",
    "Tokens": "The tokens of people and agents.",
    "Users": "The people and agents of the tenant.",
    "Invitations": "People who are invited by e-mail.",
    "Tenant": "The organization that you work in.",
    "Views": "Filters of tasks with a name: lists, boards, and queues of claims.",
    "Members": "Who works in a project, with which role.",
    "Tags": "Labels of tasks, shared by all projects of the tenant.",
    "Claims": "Leases of tasks by workers: each task is done once.",
    "Comments": "Texts on tasks.",
    "Pages": "Longer texts of a project, as drafts or published.",
    "Notifications": "What you should hear of: your inbox.",
    "Events": "What was changed, in the order of the commits.",
    "Trash": "Deleted rows, which can be restored for 30 days.",
    "Search": "Full-text search in tasks, comments and pages.",
    "Webhooks": "URLs to which events are sent, signed and retried.",
    "Undo": "Take changes back.",
    "Plans": "See what a write would do, without doing it.",
    "Index": "Where the documents of the API are.",
}

register_converter(IdConverter, "id")
api = Api(
    title="TaskFlow",
    version=API_VERSION,
    description=DESCRIPTION,
    openapi_extra={
        "info": {"license": {"name": "MIT", "identifier": "MIT"}},
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
    },
    error_codes=ERROR_CODES,
    path_examples=PATH_EXAMPLES,
    minimal_rows=MINIMAL_ROWS,
    auth=write_auth,
    servers=[{"url": "/"}],
    docs=Swagger(settings={"persistAuthorization": True}),
    docs_decorator=read_only,
    urls_namespace="api",
)
# Django tries URLs in this order. The routers that are used most come first.
api.add_router("/tasks", tasks)
api.add_router("/projects", projects)
api.add_router("/auth", signing_in)
api.add_router("/auth", enrolling)
api.add_router("/auth/password-resets", password_resets)
api.add_router("/auth/email-changes", email_changes)
api.add_router("/me", me)
api.add_router("/me/second-factor", second_factor)
api.add_router("/sessions", sessions)
api.add_router("/me/sign-ins", own_sign_ins)
api.add_router("/tokens", token_routes)
api.add_router("/users", users)
api.add_router("/users", offboarding)
api.add_router("/invitations", invitations)
api.add_router("/users", user_sessions)
api.add_router("/tenant", tenant_routes)
api.add_router("/projects", project_history)
api.add_router("/projects", csv_files)
api.add_router("/members", members)
api.add_router("/tasks", task_history)
api.add_router("/tags", tags)
api.add_router("/views", views)
api.add_router("/claims", claims)
api.add_router("/comments", comments)
api.add_router("/pages", pages)
api.add_router("/events", event_feed)
api.add_router("/trash", trash)
api.add_router("/search", searching)
api.add_router("/webhooks", webhooks)
api.add_router("/deliveries", deliveries)
api.add_router("/notifications", notifications)
api.add_router("/undo", undoing)
api.add_router("/plans", plans)
api.add_router("", index)

define_series(
    {api.get_openapi_operation_id(o): o.methods for o in api.list_operations()},
    (code for codes in ERROR_CODES.values() for code in codes),
)


@api.exception_handler(Problem)
def answer_problem(request: Request, problem: Problem) -> HttpResponse:
    return point_to_sent_names(problem, request).as_response(request)


@api.exception_handler(HttpError)
def answer_http_error(request: Request, error: HttpError) -> HttpResponse:
    """Answer ninja's own error. Ninja also raises it in place of what our parser has raised."""
    problem = error.__cause__ if isinstance(error.__cause__, Problem) else None
    return (problem or problem_of_status(error.status_code)).as_response(request)


@api.exception_handler(RequestDataTooBig)
def answer_too_large(request: Request, error: RequestDataTooBig) -> HttpResponse:
    return problem_of_status(413).as_response(request)


@api.exception_handler(MultiPartParserError)  # the CSRF check reads forms
@api.exception_handler(SuspiciousOperation)
def answer_unreadable(request: Request, error: Exception) -> HttpResponse:
    return problem_of_status(400).as_response(request)


@api.exception_handler(DatabaseError)
def answer_database(request: Request, error: DatabaseError) -> HttpResponse:
    return respond_to_database_error(request, error)


@api.exception_handler(Http404)
def answer_missing(request: Request, error: Http404) -> HttpResponse:
    return problem_of_status(404).as_response(request)


@api.exception_handler(Exception)
def answer_bug(request: Request, error: Exception) -> HttpResponse:
    log.error("unexpected error", exc_info=error, extra=request_log_fields(request))
    return problem_of_status(500).as_response(request)
