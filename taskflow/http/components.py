"""The parameters and the component schemas of the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

from django.core.exceptions import ImproperlyConfigured
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.schema import NinjaGenerateJsonSchema
from pydantic import MISSING, BaseModel
from pydantic.json_schema import CoreModeRef, DefsRef, JsonSchemaMode
from pydantic_core.core_schema import (
    CoreSchema,
    DataclassField,
    EnumSchema,
    LiteralSchema,
    ModelField,
    NullableSchema,
    TypedDictField,
    WithDefaultSchema,
)

from taskflow.http.media_types import JSON, MERGE_PATCH, merged_fields_of

if TYPE_CHECKING:
    from ninja import NinjaAPI

Schema = dict[str, Any]  # a JSON schema, or another object of the document
BODY_SOURCES = frozenset({"body", "form", "file"})  # what ninja reads from the body
COMPONENT_REF = "#/components/schemas/{model}"
MERGE_PATCH_EXAMPLE: Schema = {"metadata": {"sprint": 13, "estimate": None}}
MERGE_PATCH_DESCRIPTION = "A merge patch (RFC 7396). Fields that are absent stay as they are."
MERGED_FIELD_DESCRIPTION = (
    "Merged into the stored object, key by key and at every level. Null removes a key. Absent keys"
    " stay. Lists are replaced. The result has the same limits as the object."
)
LIFTED_KEYS = frozenset({"description", "examples"})


class OpenApiDocument(OpenAPISchema):
    """Ninja's document, with one component for each class and parameters that are valid."""

    def __init__(
        self, api: NinjaAPI, path_prefix: str, path_examples: Mapping[str, object]
    ) -> None:
        self.class_by_component: dict[str, str] = {}
        self.path_examples = path_examples
        super().__init__(api, path_prefix)

    def add_schema_definitions(self, definitions: Mapping[str, Schema]) -> None:
        """Add components by name. Raises ImproperlyConfigured for two schemas of one name."""
        for name, schema in definitions.items():
            if self.schemas.setdefault(name, schema) != schema:
                raise ImproperlyConfigured(
                    f"The component “{name}” would have two different schemas. Rename one of the"
                    " classes. If one class has two schemas, one to read and one to write, use two"
                    " classes."
                )

    def request_body(self, operation: Operation) -> Schema:
        """Describe the body of an operation, and its merge patch where it accepts one."""
        body: Schema = super().request_body(operation)
        if merged := merged_fields_of(operation):
            reference = body["content"][JSON]["schema"]["$ref"]
            name = self._add_merge_patch(reference.rpartition("/")[2], merged)
            body["content"][MERGE_PATCH] = {
                "schema": {"$ref": COMPONENT_REF.format(model=name)},
                "example": MERGE_PATCH_EXAMPLE,
            }
        return body

    def _add_merge_patch(self, component: str, merged_fields: Iterable[str]) -> str:
        """Add the component of a merge patch with the fields of a component. Return its name.

        It needs a name of its own: clients choose the media type by the class of the body.
        """
        name = f"{component.removesuffix('Update')}MergePatch"
        schema = deepcopy(self.schemas[component])
        schema |= {"title": name, "description": MERGE_PATCH_DESCRIPTION}
        schema["examples"] = [MERGE_PATCH_EXAMPLE]
        for field in merged_fields:
            schema["properties"][field] |= {
                "description": MERGED_FIELD_DESCRIPTION,
                "examples": [MERGE_PATCH_EXAMPLE[field]],
            }
        self.add_schema_definitions({name: schema})
        return name

    def operation_parameters(self, operation: Operation) -> list[Schema]:
        """Describe the query and path parameters of an operation."""
        return [
            parameter
            for model in operation.models
            if model.__ninja_param_source__ not in BODY_SOURCES
            for parameter in self._parameters_of(model)
        ]

    def _parameters_of(self, model: Any) -> list[Schema]:
        schema = self._schema_of(model)
        definitions = schema.get("$defs", {})
        self.add_schema_definitions(definitions)
        source = model.__ninja_param_source__
        parameters = [
            _parameter(source, name, details, is_required=is_required)
            for name, details, is_required in _flatten(schema, definitions)
        ]
        for parameter in parameters:
            if source == "path" and parameter["name"] in self.path_examples:
                parameter["example"] = self.path_examples[parameter["name"]]
            elif parameter["required"] and "examples" in parameter["schema"]:
                parameter["example"] = parameter["schema"]["examples"][
                    0
                ]  # filled in by the docs page
        return parameters

    def _create_schema_from_model(
        self,
        model: Any,
        by_alias: bool = True,
        remove_level: bool = True,
        mode: JsonSchemaMode = "validation",
    ) -> tuple[Schema, bool]:
        """Return the schema of a body or response, and whether a body is required."""
        schema = self._schema_of(model, by_alias=by_alias, mode=mode)
        self.add_schema_definitions(schema.pop("$defs", {}))
        if not remove_level or len(schema["properties"]) != 1:
            return schema, True
        ((name, details),) = schema["properties"].items()
        return details, name in schema.get("required", ())

    def _schema_of(self, model: type[BaseModel], **options: Any) -> Schema:
        return _generate_schema(model, self.class_by_component, **options)


class ComponentGenerator(NinjaGenerateJsonSchema):
    """Generates JSON schemas whose components have the plain name of their class."""

    def __init__(self, class_by_component: dict[str, str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.class_by_component = class_by_component
        self.names: dict[str, str] = {}  # of the components, by reference

    def get_defs_ref(self, core_mode_ref: CoreModeRef) -> DefsRef:
        """Return pydantic's reference to a component, and keep the plain name of its class."""
        reference = super().get_defs_ref(core_mode_ref)
        qualified = re.sub(r":\d+", "", core_mode_ref[0])  # without the ids of the classes
        self.names[reference] = self.normalize_name(re.sub(r"[^\][,]+\.", "", qualified))
        return reference

    def generate(self, schema: CoreSchema, mode: JsonSchemaMode = "validation") -> Schema:
        """Generate the schema. Raises ImproperlyConfigured if two classes share a component.

        Pydantic would give one of the classes a longer name, but only if one schema refers to both.
        Otherwise ninja would keep the class that comes last.
        """
        generated = super().generate(schema, mode)
        for reference in self.definitions:
            name = self.names[reference]
            described, _mode = self.defs_to_core_refs[reference]
            owner = self.class_by_component.setdefault(name, described)
            if owner != described:
                raise ImproperlyConfigured(
                    f"The component “{name}” would stand for two classes, {_path(owner)} and"
                    f" {_path(described)}. Rename one of them."
                )
        return generated

    def field_is_required(
        self,
        field: ModelField | DataclassField | TypedDictField,
        total: bool,
    ) -> bool:
        """Return whether a property is always there. A field that may be MISSING is not."""
        if field["schema"].get("default") is MISSING:
            return False
        return super().field_is_required(field, total)

    def default_schema(self, schema: WithDefaultSchema) -> Schema:
        """Leave out the default of a field that may be absent: MISSING is not JSON.

        Leave out an object as well, for which openapi-python-client has no default.
        """
        default = schema.get("default")
        if default is MISSING or isinstance(default, BaseModel):
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)

    def nullable_schema(self, schema: NullableSchema) -> Schema:
        """Describe a value or null, with the description of the value outside of `anyOf`.

        Client generators take the description of a property from its outermost schema.
        """
        value, null = self.generate_inner(schema["schema"]), {"type": "null"}
        lifted = {key: value[key] for key in LIFTED_KEYS & value.keys()}
        rest = {key: part for key, part in value.items() if key not in lifted}
        members = rest["anyOf"] if rest.keys() == {"anyOf"} else [rest]
        return {"anyOf": [*members, null], **lifted}

    def literal_schema(self, schema: LiteralSchema) -> Schema:
        return _without_const(super().literal_schema(schema))

    def enum_schema(self, schema: EnumSchema) -> Schema:
        return _without_const(super().enum_schema(schema))


def _generate_schema(
    model: type[BaseModel], class_by_component: dict[str, str], **options: Any
) -> Schema:
    def generator(**kwargs: Any) -> ComponentGenerator:
        return ComponentGenerator(class_by_component, **kwargs)

    return model.model_json_schema(
        ref_template=COMPONENT_REF,
        schema_generator=cast(type[NinjaGenerateJsonSchema], generator),
        **options,
    )


def _without_const(schema: Schema) -> Schema:
    """Return the schema with a list of one value in place of `const`.

    Some client generators ignore `const` or write code from it that does not compile.
    """
    rest = {key: value for key, value in schema.items() if key != "const"}
    return rest | ({"enum": [schema["const"]]} if "const" in schema else {})


def _path(core_ref: str) -> str:
    """Return the module and name of a class, without the id that pydantic appends."""
    return core_ref.partition(":")[0]


def _flatten(
    schema: Schema, definitions: Mapping[str, Schema]
) -> Iterator[tuple[str, Schema, bool]]:
    """Yield the name and the schema of each parameter, and whether it is required."""
    for name, details in schema["properties"].items():
        referred = definitions.get(details.get("$ref", "").rpartition("/")[2], {})
        if "properties" in referred:  # as in `filters: Query[TaskFilters]`
            yield from _flatten(referred, definitions)
        else:
            yield name, details, name in schema.get("required", ())


def parameters_of_schema(schema: type[BaseModel]) -> list[Schema]:
    """Describe each field of a schema without components as an optional query parameter."""
    properties = _generate_schema(schema, {})["properties"]
    return [_parameter("query", n, details, is_required=False) for n, details in properties.items()]


def _parameter(source: str, name: str, details: Schema, *, is_required: bool) -> Schema:
    """Describe a parameter. Its examples stay in its schema, where they may be a list."""
    schema = _without_null(details)
    described = {"in": source, "name": name, "required": is_required, "schema": schema}
    if schema.get("type") == "object":  # as in metadata[sprint]=12
        described |= {"style": "deepObject", "explode": True}
        schema["additionalProperties"] = {"type": "string"}
    if "description" in schema:
        described["description"] = schema.pop("description")
    elif source == "path":
        described["description"] = f"The id of the {name.removesuffix('_id').replace('_', ' ')}."
    return described


def _without_null(schema: Schema) -> Schema:
    """Return the schema of a parameter without null, which a query string cannot express."""
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    members = [member for member in schema.get("anyOf", ()) if member != {"type": "null"}]
    if len(members) == 1:
        return {**members[0], **rest}
    return {**rest, "anyOf": members} if members else rest
