"""Merge patches (RFC 7396): changes of single keys of a JSON object.

A MergePatch takes the place of a value in a change of a row. The recorder applies it to the stored
value, which is locked then, so that two patches of different keys both last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taskflow.audit.values import are_equal_as_json
from taskflow.http.errors import Invalid
from taskflow.http.request import Request
from taskflow.http.schema import In, check_metadata_size

JsonPath = tuple[str, ...]  # the keys that lead to a value
ABSENT = object()  # in place of the value of a key that an object does not have


@dataclass(frozen=True)
class MergePatch:
    """A patch of the JSON object in the field `field` of a row."""

    field: str
    patch: Mapping[str, object]

    def merge(self, stored: object) -> dict[str, object]:
        """Return the stored object with the patch applied.

        Raises Invalid if the result is larger than the field allows.
        """
        merged = _merge(stored, self.patch)
        try:
            return check_metadata_size(merged)
        except ValueError as error:
            raise Invalid.field(
                self.field, f"After the merge, “{self.field}” {error}.", "too_large"
            ) from None

    def find_conflicts(self, base: object, theirs: object) -> list[JsonPath]:
        """Return the paths that the patch changes and that others have changed too.

        `base` is the object that the client has read, `theirs` the one that is stored now.
        """
        return list(_find_conflicts(self.patch, base, theirs, ()))


def merge_if_patch(value: object, stored: object) -> Any:
    """Return a value as it is, or the merge of a MergePatch into the stored value."""
    return value.merge(stored) if isinstance(value, MergePatch) else value


def read_patch(request: Request, body: In) -> dict[str, Any]:
    """Return the fields that the client sent, with a MergePatch for those that are merged.

    Only a request whose Content-Type is that of a merge patch merges fields.
    """
    sent = body.sent_fields()
    merged = request.merged_fields & sent.keys()
    return sent | {name: MergePatch(name, sent[name]) for name in merged}


def get_at(value: object, path: JsonPath) -> object:
    """Return the value at the path in a JSON value, or None if there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def escape_pointer(key: str) -> str:
    """Return a key as one part of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _merge(target: object, patch: Mapping[str, object]) -> dict[str, object]:
    """Return the MergePatch of RFC 7396, section 2, for a patch that is an object."""
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            merged[key] = _merge(merged.get(key), value)
        else:
            merged[key] = value
    return merged


def _find_conflicts(
    patch: Mapping[str, object], base: object, theirs: object, path: JsonPath
) -> Iterator[JsonPath]:
    for key, value in patch.items():
        before, now = _get(base, key), _get(theirs, key)
        if isinstance(value, Mapping) and _may_contain(before) and _may_contain(now):
            yield from _find_conflicts(value, before, now, (*path, key))
        elif not _are_equal(before, now) and not _are_equal(now, _merge_value(now, value)):
            yield (*path, key)


def _get(value: object, key: str) -> object:
    return value.get(key, ABSENT) if isinstance(value, Mapping) else ABSENT


def _may_contain(value: object) -> bool:
    """Return whether a patch of single keys keeps the other keys of the value."""
    return value is ABSENT or isinstance(value, Mapping)


def _merge_value(stored: object, value: object) -> object:
    if value is None:
        return ABSENT
    return _merge(stored, value) if isinstance(value, Mapping) else value


def _are_equal(one: object, other: object) -> bool:
    if ABSENT in (one, other):
        return one is other
    return are_equal_as_json(one, other)
