"""The lock files agree: production runs the same pins that are tested."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PLATFORMS = ("linux", "darwin", "win32")


def read_lock(name: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return the pinned version with its marker, and the hashes, by package name."""
    text = re.sub(r"^ *#.*\n", "", (ROOT / name).read_text(), flags=re.MULTILINE)
    pins = {}
    for entry in text.replace("\\\n", "").splitlines():
        requirement, *hashes = entry.split("--hash=")
        package, _, version = requirement.partition("==")
        assert package not in pins, f"{package} is pinned twice in {name}"
        pins[package] = (version.strip(), frozenset(part.strip() for part in hashes))
    return pins


def dependencies_of(requirement: Requirement) -> Iterator[Requirement]:
    """Return the requirements of an installed package with its extras, on any platform."""
    try:
        lines = requires(requirement.name) or []
    except PackageNotFoundError:  # needed on another platform than this one only
        return
    for needed in map(Requirement, lines):
        marker = needed.marker
        if marker is None or any(
            marker.evaluate({"extra": extra, "sys_platform": platform})
            for extra in ("", *requirement.extras)
            for platform in PLATFORMS
        ):
            yield needed


def closure_of(lines: list[str]) -> set[str]:
    """Return the names of the packages and of everything that they require."""
    pending, names = [Requirement(line) for line in lines], set()
    visited = set()
    while pending:
        requirement = pending.pop()
        names.add(canonicalize_name(requirement.name))
        key = (requirement.name, frozenset(requirement.extras))
        if key not in visited:
            visited.add(key)
            pending.extend(dependencies_of(requirement))
    return names


@pytest.fixture(scope="module")
def full():
    return read_lock("requirements.lock")


@pytest.fixture(scope="module")
def runtime():
    return read_lock("requirements-runtime.lock")


def test_each_runtime_pin_is_identical_in_the_full_lock(full, runtime):
    assert {name: full.get(name) for name in runtime} == runtime


def test_each_pin_has_a_version_and_hashes(full, runtime):
    incomplete = [
        name
        for name, (version, hashes) in {**full, **runtime}.items()
        if not version or not hashes or not all(h.startswith("sha256:") for h in hashes)
    ]

    assert not incomplete


def test_runtime_lock_pins_exactly_the_dependencies_and_what_they_require(runtime):
    assert set(runtime) == closure_of(PROJECT["project"]["dependencies"])


def test_development_dependencies_are_only_in_the_full_lock(full, runtime):
    development = {
        canonicalize_name(Requirement(line).name) for line in PROJECT["dependency-groups"]["dev"]
    }

    assert development <= set(full)
    assert not development & set(runtime)


@pytest.mark.slow
def test_each_pinned_version_satisfies_the_requirement_of_the_project(full):
    for line in [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]:
        requirement = Requirement(line)
        version = full[canonicalize_name(requirement.name)][0].partition(" ")[0]
        assert version in requirement.specifier, f"{line}, locked {version}"
