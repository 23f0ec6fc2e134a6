"""What a tool is, and how its arguments are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from taskflow.db.types import MAX_ID
from taskflow.http.errors import Invalid
from taskflow.http.validation import suggest
from taskflow.mcp.api_calls import ApiCalls
from taskflow.mcp.protocol import Call
from taskflow.mcp.results import InputRequired, ToolResult

Schema = Mapping[str, object]
Arguments = Mapping[str, object]
Run = Callable[[ApiCalls, Arguments, Call], ToolResult | InputRequired]

KEY_ARGUMENT = "idempotency_key"
CLAIM_ARGUMENT = "claim"
CLAIMED_WRITE_ARGUMENTS: Mapping[str, Schema] = {
    CLAIM_ARGUMENT: {"type": "integer", "description": "From next_task, if you have claimed it."}
}
WRITE_ARGUMENTS: Mapping[str, Schema] = {
    KEY_ARGUMENT: {
        "type": "string",
        "description": "New UUID; the same one when you retry. Then it happens once.",
    }
}


def text(description: str = "", **more: object) -> Schema:
    """Return the schema of a text."""
    return _described({"type": "string", **more}, description)


def texts(description: str = "", choices: Sequence[str] = ()) -> Schema:
    """Return the schema of a list of texts."""
    items = one_of(choices) if choices else {"type": "string"}
    return _described({"type": "array", "items": items}, description)


def one_of(choices: Sequence[str], description: str = "") -> Schema:
    """Return the schema of a text that is one of these."""
    return _described({"type": "string", "enum": [str(choice) for choice in choices]}, description)


def flag(description: str = "") -> Schema:
    """Return the schema of true or false."""
    return _described({"type": "boolean"}, description)


def number(description: str = "", **bounds: int) -> Schema:
    """Return the schema of a whole number."""
    return _described({"type": "integer", **bounds}, description)


def _described(schema: dict[str, object], description: str) -> Schema:
    return schema | ({"description": description} if description else {})


@dataclass(frozen=True)
class Tool:
    """A tool of a language model.

    `properties` are the schemas of its arguments. The API validates their values; a tool only
    refuses arguments that it does not have. `also_known` are arguments that it takes without
    listing them.
    """

    name: str
    title: str
    description: str
    properties: Mapping[str, Schema]
    run: Run
    required: Sequence[str] = ()
    is_reading: bool = False
    is_destructive: bool = False  # whether it answers a plan first: it may take back much
    is_idempotent: bool = False  # whether a second call with the same arguments changes nothing
    output: Schema | None = None
    also_known: frozenset[str] = field(default_factory=frozenset)

    @property
    def arguments(self) -> Mapping[str, Schema]:
        """The schemas of all listed arguments."""
        return self.properties if self.is_reading else {**self.properties, **WRITE_ARGUMENTS}

    def as_object(self) -> dict[str, object]:
        """Return the tool in the form of MCP."""
        definition: dict[str, object] = {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": {
                "type": "object",
                "properties": self.arguments,
                "required": list(self.required),
            },
            "annotations": {
                "readOnlyHint": self.is_reading,
                "destructiveHint": self.is_destructive,
                "idempotentHint": self.is_reading or self.is_idempotent,
                "openWorldHint": False,
            },
        }
        return definition if self.output is None else {**definition, "outputSchema": self.output}

    def check(self, arguments: Arguments) -> None:
        """Raise Invalid for an argument that the tool does not have, and for a missing one."""
        known = self.arguments.keys() | self.also_known
        for name in arguments:
            if name not in known:
                raise Invalid.field(
                    name,
                    f"There is no argument “{name}”.{suggest(name, self.arguments)}",
                    "unknown_field",
                )
        for name in self.required:
            if name not in arguments:
                raise Invalid.field(name, f"“{name}” is missing.", "missing")


def number_of(arguments: Arguments, name: str) -> int:
    """Return an argument that must be a whole number from 0 on. Raises Invalid for any other."""
    value = arguments[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_ID:
        raise Invalid.field(name, f"“{name}” must be a whole number from 0 on.", "wrong_type")
    return value


def naming_claim(api: ApiCalls, arguments: Arguments) -> ApiCalls:
    """Return the calls with the claim that the arguments name as the right to change its task."""
    if CLAIM_ARGUMENT not in arguments:
        return api
    claim_id = number_of(arguments, CLAIM_ARGUMENT)
    api.request.actor = replace(api.request.actor, claim_id=claim_id)
    return api
