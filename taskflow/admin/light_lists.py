"""Short classes for the cells of lists.

Unfold writes its classes, 640 characters, into every cell. In a list of fifty tasks they are two
thirds of the page. One class has the same rules, which are in static/taskflow/lists.css.
"""

from __future__ import annotations

from unfold.templatetags.unfold_list import CHECKBOX_CLASSES, ROW_CLASSES


def shorten_classes() -> None:
    """Replace the classes of the cells of all lists of this process."""
    ROW_CLASSES[:] = ["list-cell"]
    CHECKBOX_CLASSES[:] = ["action-checkbox", "list-check"]
