"""The OpenAPI document, from which clients are generated."""

from __future__ import annotations

import json

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from taskflow.tests.contract import api_document
from taskflow.tests.test_permissions import OPEN

pytestmark = pytest.mark.one_database

SCHEMA = api_document()
OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, methods in SCHEMA["paths"].items()
    for method, operation in methods.items()
}
SCHEMAS = SCHEMA["components"]["schemas"]
SERVER_OWNED = {
    "id", "tenant", "tenant_id", "created_by", "created_by_id", "number", "version", "completed_at",
    "created_at", "updated_at", "is_superuser", "digest", "joined_at",
}  # fmt: skip


@pytest.mark.slow
def test_document_is_valid_openapi_3_1():
    assert [str(error) for error in OpenAPIV31SpecValidator(SCHEMA).iter_errors()] == []


def test_document_is_openapi_3_1_with_unique_operation_ids():
    assert SCHEMA["openapi"].startswith("3.1")
    count = sum(len(methods) for methods in SCHEMA["paths"].values())
    assert len(OPERATIONS) == count
    assert all(name.replace("_", "").isalpha() and len(name) < 25 for name in OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_a_description_and_needs_credentials(name):
    _method, path, operation = OPERATIONS[name]

    assert operation.get("description"), "the docs page would be blank"
    two = (
        "get_task_by_ref",
        "upsert_task",
        "restore",
        "purge",
    )  # their row has two path parameters
    assert path.count("{") <= 1 + (name in two), "two ids in a path can disagree"
    if name not in OPEN:
        assert operation["security"], "no credentials are required"
        assert {"401", "403"} <= operation["responses"].keys()
    assert {"400", "404", "422", "503"} <= operation["responses"].keys()


def test_document_contains_the_expected_component_names():
    expected = {
        f"{name}{kind}"
        for name in ("User", "Project", "Task", "Tag", "ProjectMember")
        for kind in ("Create", "Update", "Response", "ListResponse")
    }

    assert expected <= SCHEMAS.keys()
    assert {
        "Status",
        "Priority",
        "ProjectStatus",
        "Role",
        "UserKind",
        "TrashKind",
        "TokenScope",
    } <= SCHEMAS.keys()
    assert SCHEMAS["Status"]["enum"] == ["todo", "in_progress", "done"]
    assert SCHEMAS["Problem"]


@pytest.mark.parametrize("name", [n for n in SCHEMAS if n.endswith(("Create", "Update"))])
def test_request_bodies_contain_no_read_only_fields(name):
    # The digest of preferences is an e-mail, that of tokens a hash.
    server_owned = SERVER_OWNED - ({"digest"} if name == "PreferencesUpdate" else set())
    assert not server_owned & SCHEMAS[name]["properties"].keys()
    assert SCHEMAS[name]["additionalProperties"] is False


def test_bounds_have_the_names_of_json_schema():
    """Pydantic writes those that it cannot translate by its own names, which no client knows."""
    text = json.dumps(SCHEMA)

    assert not [name for name in ("ge", "le", "gt", "lt") if f'"{name}": ' in text]


def test_all_fields_of_responses_are_required():
    """Except those that are there only if the client has asked for them with `include`."""
    included = {"TaskResponse": {"comments"}, "TaskListResponse": {"events_cursor"}}
    for name, schema in SCHEMAS.items():
        if name.endswith("Response"):
            optional = schema["properties"].keys() - schema["required"]
            assert optional == included.get(name, set()), name


def test_every_schema_component_is_used():
    text = json.dumps(SCHEMA)
    assert [n for n in SCHEMAS if f'schemas/{n}"' not in text] == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_declares_its_error_responses(name):
    method, _path, operation = OPERATIONS[name]
    statuses = operation["responses"].keys()

    assert ("409" in statuses) == ("411" in statuses) == (method != "get")
    assert ("413" in statuses) == ("415" in statuses) == ("requestBody" in operation)
    for status, response in operation["responses"].items():
        if status >= "400":
            ref = response["$ref"].rsplit("/", 1)[-1]
            (content,) = SCHEMA["components"]["responses"][ref]["content"]
            assert content == "application/problem+json"


OTHER_MEDIA_TYPES = ("application/vnd.taskflow.", "text/plain", "text/event-stream")


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_success_has_one_media_type_before_those_that_a_client_has_to_ask_for(name):
    """Client generators use only the first media type."""
    for status, response in OPERATIONS[name][2]["responses"].items():
        if status < "300":
            media_types = [*response.get("content", {})]
            others = [m for m in media_types[1:] if m.startswith(OTHER_MEDIA_TYPES)]
            assert len(media_types) - len(others) == (status != "204"), status
            assert media_types[len(media_types) - len(others) :] == others


@pytest.mark.parametrize("name", OPERATIONS)
def test_parameters_have_no_null_and_no_list_of_examples(name):
    for parameter in OPERATIONS[name][2]["parameters"]:
        assert "examples" not in parameter, "here they would have to be a map"
        assert {"type": "null"} not in parameter["schema"].get("anyOf", ()), parameter["name"]
        if parameter["in"] == "path" and parameter["name"].endswith("_id"):
            assert "integer" in json.dumps(parameter["schema"]), parameter["name"]


def test_components_have_the_plain_names_of_classes():
    """Pydantic puts modules into the names of classes that have the same one."""
    assert [name for name in SCHEMAS if not name.isalnum()] == []


def test_document_has_no_constants():
    """openapi-generator writes code that does not compile from `const: true`."""
    assert [s for s in schemas_in(SCHEMA) if "const" in s] == []


def test_no_component_is_a_default():
    """openapi-python-client leaves out a schema in which an object has a default."""
    references = [s for s in schemas_in(SCHEMAS) if "$ref" in json.dumps(s.get("allOf", ""))]

    assert [s for s in references if isinstance(s.get("default"), dict)] == []


def is_described(schema):
    """Whether a schema, or the component that it refers to, has a description."""
    members = [schema, *schema.get("anyOf", ()), *schema.get("allOf", ())]
    components = [SCHEMAS[m["$ref"].rpartition("/")[2]] for m in members if "$ref" in m]
    return any(described.get("description") for described in (schema, *components))


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_component_and_field_is_described(name):
    assert SCHEMAS[name].get("description"), name
    fields = SCHEMAS[name].get("properties", {})
    assert [field for field, schema in fields.items() if not is_described(schema)] == []


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_parameter_is_described(name):
    parameters = OPERATIONS[name][2]["parameters"]
    assert [p["name"] for p in parameters if not p.get("description")] == []


def test_success_of_a_write_may_be_a_dry_run():
    for name, (method, _path, operation) in OPERATIONS.items():
        if method != "get" and operation.get("security"):
            successes = [r for status, r in operation["responses"].items() if status < "300"]
            assert all("Dry-Run" in response["headers"] for response in successes), name


def test_sign_in_and_registration_declare_their_refusals():
    assert "401" in OPERATIONS["login"][2]["responses"]
    assert "403" in OPERATIONS["register"][2]["responses"]
    assert not OPERATIONS["login"][2].get("security")


@pytest.mark.parametrize(
    ("name", "method", "path", "body", "status"),
    [
        ("create_task", "post", "/tasks", "x", 415),
        ("create_task", "post", "/tasks", {}, 422),
        ("create_tag", "post", "/tags", {"name": "x" * 1_100_000}, 413),
        ("get_me", "get", "/me", None, 200),
        ("update_me", "patch", "/me", {"handle": "bob"}, 409),
        ("add_member", "post", "/projects/APO/members", {"user_id": 0}, 422),
        ("get_task", "get", "/tasks/NIX-1", None, 404),
        ("list_tasks", "get", "/tasks?cursor=x", None, 400),
        ("create_user", "post", "/users", {"email": "n@acme.example"}, 403),
    ],
)
def test_status_of_a_response_is_declared_in_the_document(
    fixtures, as_, name, method, path, body, status
):
    kwargs = {"content_type": "text/plain"} if status == 415 else {}

    r = getattr(as_(fixtures.ada), method)(path, body, **kwargs)

    assert r.status_code == status
    assert str(status) in OPERATIONS[name][2]["responses"]


def schemas_in(node):
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    for child in node if isinstance(node, list) else ():
        yield from schemas_in(child)


@pytest.mark.parametrize("name", [n for n in SCHEMAS if "enum" not in SCHEMAS[n]])
def test_enums_are_components_and_never_inline(name):
    """A client generator would create two types for one enum."""
    spelt_out = [s["enum"] for s in schemas_in(SCHEMAS[name]) if len(s.get("enum", ())) > 1]

    assert not spelt_out


def test_passwords_are_write_only_and_in_no_response():
    holders = {n for n, s in SCHEMAS.items() if "password" in str(s.get("properties", {}).keys())}

    assert holders == {
        "Credentials",
        "CurrentPassword",
        "EnrolmentConfirmation",
        "InvitationAcceptance",
        "Login",
        "MeUpdate",
        "PasswordChange",
        "PasswordResetCompletion",
        "Registration",
        "UserCreate",
        "UserUpdate",
    }
    for name in holders:
        for field, schema in SCHEMAS[name]["properties"].items():
            if "password" in field:
                assert '"writeOnly": true' in json.dumps(schema), (name, field)


def test_openapi_document_needs_no_credentials(client):
    r = client.get("/api/v1/openapi.json")

    assert r.status_code == 200
    assert r.json() == SCHEMA


def test_paths_begin_with_api_v1():
    assert SCHEMA["servers"] == [{"url": "/"}]
    assert all(path.startswith("/api/v1") for path in SCHEMA["paths"])


@pytest.mark.parametrize(
    ("schema", "field"),
    [("UserCreate", "handle"), ("ProjectCreate", "key"), ("TagCreate", "color"), ("TaskCreate", "due_on")],
)  # fmt: skip
def test_field_with_a_pattern_has_an_example(schema, field):
    assert "examples" in json.dumps(SCHEMAS[schema]["properties"][field])


def test_required_parameter_has_an_example_or_a_choice():
    """The docs page fills it in, so that the operation can be tried untouched."""
    required = [
        parameter
        for methods in SCHEMA["paths"].values()
        for operation in methods.values()
        for parameter in operation["parameters"]
        if parameter["required"]
    ]

    assert [p["name"] for p in required if "example" not in p and "$ref" not in p["schema"]] == []
    assert any(p["in"] == "query" and "example" in p for p in required)


def test_every_tag_is_described():
    used = {tag for _method, _path, operation in OPERATIONS.values() for tag in operation["tags"]}

    assert used == {tag["name"] for tag in SCHEMA["tags"]}
    assert all(tag["description"] for tag in SCHEMA["tags"])


@pytest.mark.parametrize("name", [n for n in OPERATIONS if "requestBody" in OPERATIONS[n][2]])
def test_every_request_with_a_body_has_a_whole_example(name):
    """test_examples.py sends them."""
    _method, _path, operation = OPERATIONS[name]

    assert all("example" in content for content in operation["requestBody"]["content"].values())
    assert all("example" in p for p in operation["parameters"] if p["in"] == "path")


@pytest.mark.parametrize("name", OPERATIONS)
def test_headers_of_every_response_are_described(name):
    _method, _path, operation = OPERATIONS[name]

    for status, response in operation["responses"].items():
        if "$ref" in response:
            response = SCHEMA["components"]["responses"][response["$ref"].rpartition("/")[2]]
        headers = response["headers"].keys()
        assert "X-Request-Id" in headers, status
        assert ("Location" in headers) == (
            status == "201" and name not in ("register", "create_claims")
        )
        if status == "503":
            assert "Retry-After" in headers


def test_filters_by_a_choice_list_its_values():
    parameters = {p["name"]: p for p in OPERATIONS["list_tasks"][2]["parameters"]}

    for name in ("status", "status_not", "priority", "priority_not"):
        reference = parameters[name]["schema"]["items"]["$ref"]
        assert SCHEMAS[reference.rpartition("/")[2]]["enum"]
