"""The links of a task to pages elsewhere."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from taskflow.http.schema import In, OneLine, Out, WebUrl

MAX_LINKS = 50  # of one task
JsonLink = dict[str, str | None]  # a link as it is stored: its url and its title
LinkTitle = Annotated[
    str,
    Field(min_length=1, max_length=255, description="One line.", examples=["Design"]),
    OneLine,
]


class TaskLink(In):
    """A link to a page elsewhere."""

    url: WebUrl
    title: LinkTitle | None = Field(None, description="What the link leads to, in one line.")


class TaskLinkResponse(Out):
    """A link to a page elsewhere."""

    url: str = Field(description="The address. It begins with http:// or https://.")
    title: str | None = Field(description="What the link leads to, or null.")


def _as_json(links: list[TaskLink]) -> list[JsonLink]:
    return [{"url": link.url, "title": link.title} for link in links]


Links = Annotated[
    list[TaskLink],
    Field(
        max_length=MAX_LINKS,
        description="Links to pages elsewhere, in this order. They replace all present links.",
        examples=[[{"url": "https://example.com/design", "title": "Design"}]],
    ),
    AfterValidator(_as_json),
]
