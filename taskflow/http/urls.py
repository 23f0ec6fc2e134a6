"""A resolver that tries few of its URLs."""

from __future__ import annotations

from functools import cached_property

from django.urls import ResolverMatch, URLPattern, URLResolver
from django.urls.exceptions import Resolver404


class GroupedResolver(URLResolver):
    """A resolver of many URLs that tries those with as many segments and the same first three.

    Django tries each URL in turn. Of `api/v1/tasks/WEB-1` the first three segments are `api`, `v1`
    and `tasks`. Those of a URL may not contain parameters, or it is tried last.
    """

    @cached_property
    def groups(self) -> dict[tuple[str | int, ...], URLResolver]:
        urls: dict[tuple[str | int, ...], list[URLPattern | URLResolver]] = {}
        for url in self.url_patterns:
            urls.setdefault(_group_of(f"{self.pattern}{url.pattern}"), []).append(url)
        return {
            group: URLResolver(self.pattern, members, {}, self.app_name, self.namespace)
            for group, members in urls.items()
        }

    def resolve(self, path: str) -> ResolverMatch:
        """Return the view and the parameters of a path. Raises Resolver404 if there is none."""
        group = self.groups.get(_group_of(path))
        if group is not None:
            try:
                return group.resolve(path)
            except Resolver404:  # a URL without the same segments may match
                pass
        return super().resolve(path)


def _group_of(path: str) -> tuple[str | int, ...]:
    segments = path.split("/")
    return (*segments[:3], len(segments))
