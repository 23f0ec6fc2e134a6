"""References in request bodies: a project, a user or a task by id, key or handle."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BeforeValidator,
    ModelWrapValidatorHandler,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails

from taskflow.db.types import MAX_ID
from taskflow.http.errors import Invalid
from taskflow.http.schema import In
from taskflow.http.validation import show_value

MAX_REFERENCE_LENGTH = 60  # characters; a handle has at most 50


def _check_reference(value: object) -> int | str:
    """Return the id or the text. Raises one error, where a union would raise one for each type."""
    if isinstance(value, str) and 1 <= len(value.strip()) <= MAX_REFERENCE_LENGTH:
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_ID:
        return value
    raise ValueError(
        "must be an id, which is a number, or a text with a key or a handle, not"
        f" {show_value(value)}"
    )


IS_REFERENCE = BeforeValidator(_check_reference)


def reference_schema(description: str, example: str) -> WithJsonSchema:
    """Return the JSON schema of a reference. It replaces the one that pydantic would derive."""
    members = [
        {"type": "integer", "minimum": 1, "maximum": MAX_ID},
        {"type": "string", "minLength": 1, "maxLength": MAX_REFERENCE_LENGTH},
    ]
    return WithJsonSchema({"anyOf": members, "description": description, "examples": [example]})


ProjectReference = Annotated[
    int | str, IS_REFERENCE, reference_schema("The project, by id or key.", "WEB")
]
TaskReference = Annotated[
    int | str, IS_REFERENCE, reference_schema("The task, by id or key.", "WEB-12")
]
UserReference = Annotated[
    int | str, IS_REFERENCE, reference_schema("The user: `me`, an id or `@handle`.", "@ada")
]
ResponsibleReference = Annotated[
    int | str,
    IS_REFERENCE,
    reference_schema(
        "Only for an agent: the user who is responsible for it, as `me`, an id or `@handle`.",
        "@ada",
    ),
]
OwnerReference = Annotated[
    int | str, IS_REFERENCE, reference_schema("The owner: `me`, an id or `@handle`.", "@ada")
]


# What a reference to a row may be, by the label of its resource type.
FORMS = {
    "user": " Give an id, a handle as in @ada, or “me”.",
    "project": " Give an id, or a key as in WEB.",
    "task": " Give an id, or a key as in WEB-12.",
}


def describe_unknown(label: str, ref: int | str) -> str:
    """Return the sentence that refuses a reference to a row, and repeats it.

    It is the same for a row that does not exist and a hidden one. `label` is that of its resource
    type. For a text, the sentence also lists the forms that are accepted.
    """
    forms = FORMS.get(label, "") if isinstance(ref, str) else ""
    return f"There is no {label} {show_value(ref)}.{forms}"


def build_unknown_reference(field: str, label: str, ref: int | str) -> Invalid:
    """Return the problem of a field of the body that refers to no visible row."""
    return Invalid.field(field, describe_unknown(label, ref), "unknown_reference")


class WithReferences(In):
    """A body that names rows in two ways: `<name>` takes an id, a key or a handle, and `<name>_id`
    takes an id. Lists are called `<name>s` and `<name>_ids`.

    Both of one row are refused. Of each of `required_references`, one must be sent.
    """

    required_references: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _check_required(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Report missing references together with the errors of the other fields."""
        sent = value.keys() if isinstance(value, dict) else cls.model_fields.keys()
        names = [n for n in cls.required_references if not {n, f"{n}_id"} & sent]
        errors = [InitErrorDetails(type="missing", loc=(name,), input=None) for name in names]
        try:
            body = handler(value)
        except ValidationError as error:
            if not errors:
                raise
            errors += [_copy_error(details) for details in error.errors(include_url=False)]
        if errors:
            raise ValidationError.from_exception_data(cls.__name__, errors)
        return body

    @model_validator(mode="after")
    def _check_one_way(self) -> Self:
        sent = self.model_fields_set
        for name in sent:
            other = name_with_ids(name)
            if other in sent:
                raise ValueError(f"Send either `{name}` or `{other}`, not both.")
        return self


def name_with_ids(name: str) -> str:
    """Return the field that takes ids in place of a field of references: `assignee_id` for
    `assignee`, `project_ids` for `projects`.
    """
    return f"{name.removesuffix('s')}_ids" if name.endswith("s") else f"{name}_id"


def _copy_error(details: ErrorDetails) -> InitErrorDetails:
    """Return an error of pydantic as part of a new ValidationError."""
    return InitErrorDetails(
        type=details["type"],
        loc=details["loc"],
        input=details["input"],
        ctx=details.get("ctx", {}),
    )
