"""Loads templates without the white space that indents them.

Unfold indents its templates deeply, and repeats this for each row of a list. The white space is
removed once, when a template is loaded, not from each response.
"""

from __future__ import annotations

import re

from django.template import Origin
from django.template.loaders.app_directories import Loader as AppDirectoriesLoader

# Kept as written: text to translate, which the catalogs have with its white space, and elements
# that show it.
KEPT = re.compile(
    r"({%\s*blocktrans.*?%}.*?{%\s*endblocktrans(?:late)?\s*%}"
    r"|<(?:pre|textarea)\b.*?</(?:pre|textarea)>)",
    re.DOTALL,
)
INDENTATION = re.compile(r"\s*\n\s*")


class Loader(AppDirectoriesLoader):
    """Finds the templates of all apps. Files whose names do not end with .html are not changed."""

    def get_contents(self, origin: Origin) -> str:
        text = super().get_contents(origin)
        return remove_indentation(text) if origin.name.endswith(".html") else text


def remove_indentation(text: str) -> str:
    """Return the text of a template with one line break for each white space that contains one.

    A browser shows both in the same way. Line comments of scripts still end.
    """
    parts = KEPT.split(text)  # every second one is kept
    return "".join(
        part if index % 2 else INDENTATION.sub("\n", part) for index, part in enumerate(parts)
    )
