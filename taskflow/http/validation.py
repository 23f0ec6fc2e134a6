"""Problems for values that the types of a schema refuse, in our words and with our codes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple, get_args

from django.utils.translation import gettext, ngettext
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from taskflow.http.errors import Invalid
from taskflow.http.value_errors import EMPTY, OTHER, REPORTS, TYPES, UNKNOWN_FIELD

MAX_VALUE_LENGTH = 60  # characters of a refused value in a sentence
MAX_LISTED_NAMES = 20
MIN_SIMILARITY = 0.7  # from 0 to 1, as difflib computes it
# What pydantic puts into the location of an error for a member of a union without a class.
UNION_LABEL = re.compile(r"(constrained|function|nullable|lax|json)-.*|\w+\[.*|str|int|float|bool")
CHOICE = re.compile(r"'([^']*)'")
KINDS: Mapping[type, str] = {
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


class Place(NamedTuple):
    """What an error is about.

    `path` has the names and indexes that lead to the value, without those that pydantic adds for
    the members of a union. `schemas` are the possible schemas of the object that has the value.
    """

    path: tuple[int | str, ...]
    schemas: tuple[type[BaseModel], ...]


def problem_of_validation(
    error: ValidationError, schema: object, *, root: str = "The body"
) -> Invalid:
    """Return one problem for all errors of a value that was validated with `schema`.

    `schema` is a class or a union of classes. It is only searched for the names of fields. `root`
    is how sentences call the whole value.
    """
    return build_problem(describe_errors(error, schema, root=root))


def problem_of_request(refusals: Iterable[tuple[str, ValidationError, object]]) -> Invalid:
    """Return one problem for all values of a request that ninja has refused.

    Each refusal has its source (“body”, “query” or “path”), its error, and ninja's class of that
    source. The first name in a location is that of the function's argument.
    """
    entries: list[dict[str, str]] = []
    for source, error, schema in refusals:
        if source == "body":
            entries += describe_errors(error, schema, skipped=1)
        else:
            entries += _describe_parameters(error)
    return build_problem(entries)


def build_problem(entries: Sequence[Mapping[str, str]]) -> Invalid:
    """Return the problem with these entries of `errors`. The first one is also the detail.

    Unknown fields come first: a misspelled name is why the right one is missing.
    """
    entries = sorted(entries, key=lambda entry: entry["code"] != UNKNOWN_FIELD)
    detail = entries[0]["detail"]
    if len(entries) > 1:
        detail += f" And {len(entries) - 1} more: see `errors`."
    return Invalid(detail, code="validation_failed", errors=entries)


def describe_errors(
    error: ValidationError, schema: object, *, root: str = "The body", skipped: int = 0
) -> list[dict[str, str]]:
    """Return an entry of `errors` for each refused value, with a pointer into the body.

    The first `skipped` parts of a location are not part of the pointer.
    """
    errors_by_place: dict[Place, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        path, schemas = _find_place(schema, details)
        errors_by_place.setdefault(Place(path[skipped:], schemas), []).append(details)
    return [
        {"pointer": "/".join(["#", *map(str, place.path)])}
        | _describe(errors, f"“{'/'.join(map(str, place.path))}”" if place.path else root, place)
        for place, errors in errors_by_place.items()
    ]


def suggest(name: str, known: Collection[str]) -> str:
    """Return a sentence with the name in `known` that is nearest to `name`, or with all of them.

    It begins with a space, and is empty if there are no known names.
    """
    if not known:
        return ""
    related = [k for k in sorted(known) if k.startswith(f"{name}_") or name.startswith(f"{k}_")]
    nearest = get_close_matches(name, sorted(known), n=1, cutoff=MIN_SIMILARITY)
    if nearest or related:
        return f" Did you mean “{(related or nearest)[0]}”?"
    listed = sorted(known)[:MAX_LISTED_NAMES]
    if len(listed) == 1:
        return f" The only name is {listed[0]}."
    rest = " and others" if len(known) > len(listed) else ""
    return f" The names are {', '.join(listed)}{rest}."


def _describe_parameters(error: ValidationError) -> list[dict[str, str]]:
    """Return an entry for each refused parameter. A list has one entry for all of its values."""
    errors_by_name: dict[str, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        names = [part for part in details["loc"] if isinstance(part, str)]
        # After a set of filters, the second name is that of the filter.
        name = names[min(1, len(names) - 1)]
        errors_by_name.setdefault(name, []).append(details)
    return [
        {"parameter": name} | _describe(errors, f"“{name}”", Place((name,), ()), is_parameter=True)
        for name, errors in errors_by_name.items()
    ]


def _find_place(schema: object, details: ErrorDetails) -> Place:
    """Follow the location of an error through the schema."""
    path: list[int | str] = []
    schemas = owners = tuple(_classes_in(schema))
    for part in details["loc"]:
        if isinstance(part, int):
            path.append(part)
            continue
        annotations = [s.model_fields[part].annotation for s in schemas if part in s.model_fields]
        if annotations:
            owners, schemas = schemas, tuple(c for a in annotations for c in _classes_in(a))
        elif chosen := tuple(s for s in schemas if _is_labelled(s, part)):
            owners = schemas = chosen
            continue
        elif UNION_LABEL.fullmatch(part):
            continue
        else:  # an unknown name, or a key of an object that may have any
            owners = schemas
        path.append(part)
    if details["type"].startswith("union_tag"):
        path += CHOICE.findall(details["ctx"]["discriminator"])
    is_missing_body = details["type"] == "missing" and len(path) <= 1 and schemas
    return Place(tuple(path), schemas if is_missing_body else owners)


def _classes_in(annotation: object) -> list[type[BaseModel]]:
    """Return the schemas in a type, such as those of a union or of a list's values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    members = get_args(getattr(annotation, "__value__", annotation))
    return [found for member in members for found in _classes_in(member)]


def _is_labelled(schema: type[BaseModel], label: str) -> bool:
    """Return whether pydantic calls a member of a union so: by its class, or by its tag."""
    tags = (get_args(field.annotation) for field in schema.model_fields.values())
    return schema.__name__ == label or any(label in values for values in tags)


def _describe(
    errors: Sequence[ErrorDetails], name: str, place: Place, *, is_parameter: bool = False
) -> dict[str, str]:
    """Return the code and the detail of the errors of one value.

    There are several if no member of a union accepts the value. Then its type counts only if it is
    wrong for all of them.
    """
    details = next((e for e in errors if e["type"] not in TYPES), errors[0])
    context = _context_of(details, place, is_parameter=is_parameter)
    context["expected_type"] = " or ".join(
        dict.fromkeys(TYPES[e["type"]] for e in errors if e["type"] in TYPES)
    )
    report = REPORTS.get(details["type"], OTHER)
    is_blank = isinstance(details["input"], str) and not details["input"].strip()
    if context.get("min_length") == 1 and (is_blank or not context["length"]):
        report = EMPTY
    code = getattr(context.get("error"), "code", report.code)
    context |= {"name": name, "error": _sentence_of(str(context.get("error")), name)}
    return {"code": code, "detail": gettext(report.sentence).format_map(context)}


def _sentence_of(message: str, name: str) -> str:
    """Return the message of a ValueError as a sentence. One in lower case says what `name` must be.

    A message that begins with a capital is a sentence already. It is translated if it is marked.
    """
    message = gettext(message)
    sentence = f"{name} {message}" if message[:1].islower() else message
    return sentence if sentence.endswith(".") else f"{sentence}."


def _context_of(details: ErrorDetails, place: Place, *, is_parameter: bool) -> dict[str, object]:
    """Return the values by which the sentence of an error is completed."""
    value = details["input"]
    context: dict[str, object] = dict(details.get("ctx", {}))
    value = context.get("tag", value)
    length = len(value) if isinstance(value, str | bytes | list | dict) else 0
    limit = context.get("max_length", context.get("min_length"))
    limit_or_many = limit if isinstance(limit, int) else 2
    choices = CHOICE.findall(str(context.get("expected_tags", context.get("expected", ""))))
    context |= {
        "value": show_value(value),
        "kind": KINDS.get(type(value), "this"),
        "length": length,
        "unit": ngettext("character", "characters", limit_or_many)
        if isinstance(value, str)
        else ngettext("value", "values", limit_or_many),
        "choices": f"must be one of {', '.join(choices)}"
        if len(choices) > 1
        else f"can only be {''.join(choices)}",
        "hint": _hint(details, place, choices, is_parameter=is_parameter),
    }
    return context


def _hint(
    details: ErrorDetails, place: Place, choices: Sequence[str], *, is_parameter: bool
) -> str:
    """Return a further sentence that helps, with a space before it, or nothing."""
    value, known = (
        details["input"],
        {n: f for s in place.schemas for n, f in s.model_fields.items()},
    )
    if details["type"] == "extra_forbidden":
        unknown = str(place.path[-1])
        return _hint_of_schema(place, unknown) or suggest(unknown, known)
    if details["type"] == "missing" and not place.path:
        required = [name for name, field in known.items() if field.is_required()]
        return f" It needs {', '.join(required)}." if required else ""
    if not choices or not isinstance(value, str):
        return ""
    if is_parameter and "," in value:
        name, values = place.path[0], [part.strip() for part in value.split(",")]
        return (
            f" Repeat the parameter for several values: {'&'.join(f'{name}={v}' for v in values)}."
        )
    nearest = get_close_matches(
        value.lower().replace(" ", "_"), choices, n=1, cutoff=MIN_SIMILARITY
    )
    return f" Did you mean {nearest[0]}?" if nearest else ""


def _hint_of_schema(place: Place, name: str) -> str:
    """Return what the schema says about a field that it does not have, with a space before it."""
    for schema in place.schemas:
        hints: Mapping[str, str] = getattr(schema, "hints", {})  # of In, which imports this module
        if name in hints:
            return f" {hints[name]}"
    return ""


def show_value(value: object) -> str:
    """Return a refused value as part of a sentence, shortened and without invisible characters."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}…"
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return f"“{text}”" if isinstance(value, str) else text
