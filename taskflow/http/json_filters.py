"""Filters by values inside a JSON object: `metadata.sprint=12` and `{"metadata": {"sprint": 12}}`.

A filter consists of conditions. Each names a path of keys and the values one of which must be
stored there. A value is a text, a number, true, false or null, and is compared exactly; a text in a
URL also stands for the number, true, false or null that it is written like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, NamedTuple

from django.utils.datastructures import MultiValueDict
from pydantic import Field, PlainValidator, WithJsonSchema

MAX_CONDITIONS = 10  # of one filter
MAX_KEYS = 15  # in one path; metadata has no more levels
MAX_VALUES = 100  # of one filter
JSON_FILTERS = frozenset({"metadata", "metadata_not"})
NAME = re.compile(r"(\w+?)(?:\.(.*)|((?:\[[^\[\]]*\])+))", re.DOTALL)
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
MAX_NUMBER_LENGTH = 40  # characters
CONSTANTS: Mapping[str, object] = {"true": True, "false": False, "null": None}
JsonPath = tuple[str, ...]  # the keys that lead to a value


class JsonCondition(NamedTuple):
    """The values are a JSON array. So the SQL of a query does not depend on their number."""

    path: JsonPath
    values: str

    def count_values(self) -> int:
        return len(json.loads(self.values))


def read_name(name: str) -> tuple[str, JsonPath] | None:
    """Return the filter and the path of a query parameter, or None for any other parameter.

    `metadata.a.b` and `metadata[a][b]` have the path (a, b). In brackets, a key may contain dots.
    """
    match = NAME.fullmatch(name)
    if match is None or match[1] not in JSON_FILTERS:
        return None
    path = match[2].split(".") if match[3] is None else match[3][1:-1].split("][")
    return match[1], tuple(path)


def read_query(query: MultiValueDict[str, str]) -> dict[str, tuple[JsonCondition, ...]]:
    """Return the conditions in a query string by the name of the filter.

    Raises ValueError, whose message is a sentence, for too many of them.
    """
    texts: dict[str, dict[JsonPath, list[str]]] = {}
    for name, values in query.lists():
        if parsed := read_name(name):
            texts.setdefault(parsed[0], {}).setdefault(parsed[1], []).extend(values)
    return {
        name: _build_conditions(
            (path, [*values, *_read_texts(values)]) for path, values in paths.items()
        )
        for name, paths in texts.items()
    }


def read_conditions(value: object) -> tuple[JsonCondition, ...]:
    """Return the conditions of an object in a body, or those of read_query() as they are.

    Raises ValueError, whose message completes a sentence.
    """
    if isinstance(value, tuple):
        return value
    if not isinstance(value, dict):
        raise ValueError(
            'must name a key: in a URL metadata.sprint=12, in a body {"metadata": {"sprint": 12}}'
        )
    return _build_conditions(_flatten(value, ()))


def _read_texts(texts: Iterable[str]) -> Iterator[object]:
    """Yield the number, true, false or null that a text in a URL is written like."""
    for text in texts:
        if text in CONSTANTS:
            yield CONSTANTS[text]
        elif len(text) <= MAX_NUMBER_LENGTH and NUMBER.fullmatch(text):
            number = json.loads(text)
            if -(2**63) <= number < 2**63:
                yield number


def _flatten(
    node: Mapping[str, object], path: JsonPath
) -> Iterator[tuple[JsonPath, Sequence[object]]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _flatten(value, (*path, key))
        else:
            yield (*path, key), value if isinstance(value, list) else [value]


def _build_conditions(
    found: Iterable[tuple[JsonPath, Sequence[object]]],
) -> tuple[JsonCondition, ...]:
    """Return the conditions, those with the shortest paths first, so that few queries differ."""
    conditions = sorted(found, key=lambda pair: (len(pair[0]), pair[0]))
    if len(conditions) > MAX_CONDITIONS:
        raise ValueError(f"can have at most {MAX_CONDITIONS} keys. Send fewer")
    if sum(len(values) for _, values in conditions) > MAX_VALUES:
        raise ValueError(f"can have at most {MAX_VALUES} values. Send fewer")
    return tuple(_build_condition(path, values) for path, values in conditions)


def _build_condition(path: JsonPath, values: Sequence[object]) -> JsonCondition:
    if len(path) > MAX_KEYS:
        raise ValueError(f"can name at most {MAX_KEYS} levels. Send fewer")
    if not values or any(isinstance(value, dict | list) for value in values):
        raise ValueError(
            f"must have a text, a number, true, false, null or a list of these at"
            f" “{'.'.join(path)}”"
        )
    return JsonCondition(path, json.dumps(values))


JsonFilter = Annotated[
    tuple[JsonCondition, ...],
    PlainValidator(read_conditions),
    WithJsonSchema(
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": MAX_CONDITIONS,
            "additionalProperties": True,
        }
    ),
    Field(examples=[{"sprint": 12}]),
]
