"""
The admin's look, in one place: what the apps' admin modules use of Unfold.

Going back to Django's own admin is a change of this file and of UNFOLD in the settings.
"""

from __future__ import annotations

from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import AutocompleteSelectFilter
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminPasswordWidget as PasswordInput
from unfold.widgets import UnfoldAdminSelectWidget as Select
from unfold.widgets import UnfoldAdminTextInputWidget as TextInput

__all__ = [
    "AutocompleteSelectFilter",
    "ModelAdmin",
    "PasswordInput",
    "Select",
    "TabularInline",
    "TextInput",
    "action",
    "display",
]
