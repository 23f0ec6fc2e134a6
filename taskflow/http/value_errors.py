"""Our code and our sentence for each error type of pydantic.

Pydantic's own codes and sentences never reach a client: they name types of Python, and do not say
what to do. taskflow/tests/test_value_errors.py fails for an error type that is not in the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


def gettext_noop(text: str) -> str:
    """Mark a text for translation. Django's function needs the settings, which the process that
    receives requests loads after this module.
    """
    return text


class FormatError(ValueError):
    """A text of the right type in a wrong form. Raised by validators of schema types."""

    code = "wrong_format"


class Report(NamedTuple):
    """How an error type is reported.

    `sentence` is a format string, and marked for translation if a screen can show it. Its names are
    those of pydantic's context, and `name` (what the error is about), `value` (what was sent),
    `kind` (such as “a list”), `length`, `unit`, `choices`, `hint` (a further sentence, or nothing)
    and `expected_type`, from TYPES.
    """

    code: str
    sentence: str


WRONG_TYPE = "wrong_type"
UNKNOWN_FIELD = "unknown_field"
# What a value must be, by the error types that report a value of another type.
TYPES: Mapping[str, str] = {
    "string_type": "a text in double quotes",
    "int_type": "a whole number without quotes",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false, without quotes",
    "list_type": 'a list, as in ["a", "b"]',
    "tuple_type": 'a list, as in ["a", "b"]',
    "set_type": 'a list, as in ["a", "b"]',
    "frozen_set_type": 'a list, as in ["a", "b"]',
    "dict_type": 'a JSON object, as in {"a": 1}',
    "mapping_type": 'a JSON object, as in {"a": 1}',
    "model_type": 'a JSON object, as in {"a": 1}',
    "model_attributes_type": 'a JSON object, as in {"a": 1}',
    "dataclass_type": 'a JSON object, as in {"a": 1}',
    "date_type": "a day, as in 2026-01-31",
    "datetime_type": "a time with an offset, as in 2026-01-31T09:00:00Z",
    "time_type": "a time of day, as in 09:00:00",
    "time_delta_type": "a number of seconds",
    "url_type": "a URL in double quotes",
    "uuid_type": "a UUID in double quotes",
    "decimal_type": "a number",
}

_DAY = Report("wrong_format", "{name} must be a day that exists, as in 2026-01-31; {value} is not.")
_TIME = Report(
    "wrong_format",
    "{name} must be a time that exists, with an offset, as in 2026-01-31T09:00:00Z; {value} is"
    " not.",
)
_CHOICE = Report("unknown_value", "{name} {choices}, not {value}.{hint}")
_TOO_SHORT = Report(
    "too_short", gettext_noop("{name} must have at least {min_length} {unit}; it has {length}.")
)
_TOO_LONG = Report(
    "too_long", gettext_noop("{name} can have at most {max_length} {unit}; it has {length}.")
)
EMPTY = Report("too_short", gettext_noop("{name} must not be empty."))  # if the minimum is 1
_NUMBER = Report("wrong_format", "{name} must be a whole number, not {value}.")
_DECIMAL = Report("wrong_format", "{name} must be a number, not {value}.")
_DIGITS = Report("out_of_range", "{name} has too many digits. Send fewer.")
_URL = Report("wrong_format", "{name} must be a URL, as in https://example.com/a; {value} is not.")
_UUID = Report(
    "wrong_format",
    "{name} must be a UUID, as in 123e4567-e89b-12d3-a456-426614174000; {value} is not.",
)
# Errors of values that JSON and query strings do not have, or of types that no schema uses.
OTHER = Report("invalid", "{name} has a value that is not allowed. See /api/v1/docs.")

REPORTS: Mapping[str, Report] = {
    "missing": Report("missing", "{name} is missing. Send it.{hint}"),
    "extra_forbidden": Report(UNKNOWN_FIELD, "{name} is not a field here.{hint}"),
    "invalid_key": Report("wrong_type", "The names in {name} must be texts in double quotes."),
    "json_invalid": Report("malformed_json", "{name} must be JSON, and it is not."),
    "json_type": Report("wrong_type", "{name} must be JSON as a text, not {kind}."),
    "recursion_loop": Report("invalid", "{name} is nested too deeply. Send fewer levels."),
    "recursion_depth_exceeded": Report(
        "invalid", "{name} is nested too deeply. Send fewer levels."
    ),
    "none_required": Report("wrong_type", "{name} must be null, not {kind}."),
    "greater_than": Report("out_of_range", "{name} must be more than {gt}, not {value}."),
    "greater_than_equal": Report(
        "out_of_range", gettext_noop("{name} must be {ge} or more, not {value}.")
    ),
    "less_than": Report("out_of_range", "{name} must be less than {lt}, not {value}."),
    "less_than_equal": Report(
        "out_of_range", gettext_noop("{name} can be at most {le}, not {value}.")
    ),
    "multiple_of": Report("out_of_range", "{name} must be a multiple of {multiple_of}."),
    "finite_number": Report("out_of_range", "{name} must be a finite number, not {value}."),
    "too_short": _TOO_SHORT,
    "too_long": _TOO_LONG,
    "string_too_short": _TOO_SHORT,
    "string_too_long": _TOO_LONG,
    "bytes_too_short": _TOO_SHORT,
    "bytes_too_long": _TOO_LONG,
    "string_unicode": Report("wrong_format", "{name} must be a text in UTF-8."),
    "bytes_invalid_encoding": Report("wrong_format", "{name} must be a text in UTF-8."),
    "string_not_ascii": Report("wrong_format", "{name} can have only ASCII characters."),
    "string_pattern_mismatch": Report("wrong_format", "{name} must match {pattern}."),
    "enum": _CHOICE,
    "literal_error": _CHOICE,
    "union_tag_invalid": _CHOICE,
    "union_tag_not_found": Report("missing", "{name} is missing. Send it.{hint}"),
    "bool_parsing": Report("wrong_format", "{name} must be true or false, not {value}."),
    "int_parsing": _NUMBER,
    "int_parsing_size": Report("out_of_range", "{name} is a number that does not fit 64 bits."),
    "float_parsing": _DECIMAL,
    "decimal_parsing": _DECIMAL,
    "decimal_max_digits": _DIGITS,
    "decimal_max_places": _DIGITS,
    "decimal_whole_digits": _DIGITS,
    "value_error": Report("invalid", "{error}"),
    "assertion_error": Report("invalid", "{error}"),
    "date_parsing": _DAY,
    "date_from_datetime_parsing": _DAY,
    "date_from_datetime_inexact": _DAY,
    "date_past": Report("out_of_range", "{name} must be a day in the past."),
    "date_future": Report("out_of_range", "{name} must be a day in the future."),
    "time_parsing": Report("wrong_format", "{name} must be a time of day, as in 09:00:00."),
    "datetime_parsing": _TIME,
    "datetime_object_invalid": _TIME,
    "datetime_from_date_parsing": _TIME,
    "datetime_past": Report("out_of_range", "{name} must be a time in the past."),
    "datetime_future": Report("out_of_range", "{name} must be a time in the future."),
    "timezone_naive": Report("wrong_format", "{name} must have no offset. Remove it."),
    "timezone_aware": Report(
        "wrong_format",
        "{name} must end with an offset, as in 2026-01-31T09:00:00Z; {value} does not.",
    ),
    "timezone_offset": Report("wrong_format", "{name} must have another offset."),
    "time_delta_parsing": Report("wrong_format", "{name} must be a number of seconds."),
    "url_parsing": _URL,
    "url_syntax_violation": _URL,
    "url_scheme": Report(
        "wrong_format", "{name} must be a URL that begins with {expected_schemes}."
    ),
    "url_too_long": _TOO_LONG,
    "uuid_parsing": _UUID,
    "uuid_version": _UUID,
    **dict.fromkeys(TYPES, Report(WRONG_TYPE, "{name} must be {expected_type}, not {kind}.")),
    **dict.fromkeys(
        (
            "no_such_attribute",
            "needs_python_object",
            "frozen_field",
            "frozen_instance",
            "get_attribute_error",
            "dataclass_exact_type",
            "named_tuple_type",
            "default_factory_not_called",
            "iterable_type",
            "iteration_error",
            "frozen_dict_type",
            "ordered_dict_type",
            "counter_type",
            "deque_type",
            "set_item_not_hashable",
            "bytes_type",
            "missing_sentinel_error",
            "ellipsis_error",
            "is_instance_of",
            "is_subclass_of",
            "callable_type",
            "arguments_type",
            "missing_argument",
            "unexpected_keyword_argument",
            "missing_keyword_only_argument",
            "unexpected_positional_argument",
            "missing_positional_only_argument",
            "multiple_argument_values",
            "fraction_type",
            "fraction_parsing",
            "complex_type",
            "complex_str_parsing",
        ),
        OTHER,
    ),
}
