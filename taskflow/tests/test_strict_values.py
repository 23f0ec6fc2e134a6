"""True, false and numbers have one form in a body, and one in a URL."""

from __future__ import annotations

from typing import get_args

import pytest

from taskflow.http.errors import Invalid
from taskflow.http.parsing import check_values
from taskflow.http.schema import In
from taskflow.tests.contract import api_document
from tasks.schemas.task_filters import TaskWhere

pytestmark = pytest.mark.one_database

FLAGS = (1, 0, 1.0, "1", "0", "yes", "no", "on", "t", "TRUE", "True", " true", "true ", "")
NUMBERS = (True, 5.0, 1.5, "1_0", "+5", " 5", "5 ", "5\n", "5.0", "1e1", "٣", "0x5", "")


def all_schemas(base=In):
    for schema in base.__subclasses__():
        yield schema
        yield from all_schemas(schema)


def types_in(annotation):
    members = get_args(annotation)
    return {annotation} if not members else {t for member in members for t in types_in(member)}


def fields_of(kind):
    """The fields of bodies and parameters that take this type, and no text."""
    return {
        (schema, name)
        for schema in all_schemas()
        if ".tests." not in schema.__module__ and schema.__module__ != "taskflow.http.parsing"
        for name, field in schema.model_fields.items()
        if kind in (types := types_in(field.annotation)) and str not in types
    }


def names_of_bodies():
    """The components that bodies of requests contain."""
    components, names = api_document()["components"]["schemas"], set()

    def collect(node):
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in names:
                names.add(name)
                collect(components[name])
            node = list(node.values())
        if isinstance(node, list):
            for item in node:
                collect(item)

    for methods in api_document()["paths"].values():
        collect([operation.get("requestBody", {}) for operation in methods.values()])
    return names


def is_refused(schema, name, value):
    try:
        check_values(schema, {name: value})
    except Invalid as problem:
        return problem.code == "validation_failed"
    return False


@pytest.mark.parametrize(
    ("kind", "wrong", "text"), [(bool, FLAGS, "true"), (int, NUMBERS, "5")], ids=["bool", "int"]
)
def test_value_of_another_type_is_refused_by_every_schema(kind, wrong, text):
    fields = fields_of(kind)
    bodies = names_of_bodies() - {TaskWhere.__name__}  # its filters are parameters as well
    in_bodies = {(schema, name) for schema, name in fields if schema.__name__ in bodies}

    accepted = [(*f, value) for f in fields for value in wrong if not is_refused(*f, value)]
    accepted += [(*field, text) for field in in_bodies if not is_refused(*field, text)]

    assert accepted == []
    assert len(fields) > len(in_bodies) > 3


def test_texts_of_a_url_are_refused_in_a_where(fixtures, as_):
    where = {"ready": "true", "tag_none": "false", "parent_none": 1}

    r = as_(fixtures.ada).post(
        "/tasks/bulk?dry_run=true", {"operations": [{"op": "delete", "where": where}]}
    )

    assert r.status_code == 422
    assert {e["pointer"].rpartition("/")[2] for e in r.json()["errors"]} >= {"ready", "tag_none"}
    assert r.json()["errors"][0]["code"] == "wrong_type"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("ready=true", 200),
        ("ready=false", 200),
        ("ready=yes", 422),
        ("ready=1", 422),
        ("limit=10", 200),
        ("limit=1_0", 422),
        ("limit=%2B5", 422),
        ("limit=5.0", 422),
        ("skip=%205", 422),
    ],
)
def test_parameter_takes_one_form(fixtures, as_, query, status):
    r = as_(fixtures.ada).get(f"/tasks?{query}")

    assert r.status_code == status
    if status == 422:
        assert r.json()["errors"][0]["code"] == "wrong_format"
        assert r.json()["errors"][0]["parameter"] == query.partition("=")[0]
