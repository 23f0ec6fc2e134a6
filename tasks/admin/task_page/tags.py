"""The field of a task's tags: names, of which new ones are created with the task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelectMultiple
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from taskflow.admin.refusals import list_sentences
from taskflow.db.text import fold_key
from taskflow.http.errors import Problem
from taskflow.http.parsing import check_values
from tasks.admin.labels import NAME_AS_VALUE
from tasks.changes.context import check_tag_count
from tasks.models import Tag, Task
from tasks.schemas.tasks import TaskCreate


class TagsWidget(AutocompleteSelectMultiple):
    """Offers the tags of the tenant, and takes what was typed as a new one."""

    def __init__(self) -> None:
        super().__init__(Task._meta.get_field("tags"), admin.site, attrs={"data-tags": "true"})

    def get_url(self) -> str:
        return f"{super().get_url()}?{NAME_AS_VALUE}=1"

    def optgroups(self, name: str, value: Sequence[str], attr: Any = None) -> Any:
        """Return the chosen names. The others are loaded while the user types."""
        names = [text for text in value if text]
        options = [self.create_option(name, n, n, True, i) for i, n in enumerate(names)]
        return [(None, options, 0)]


class TagsField(forms.Field):
    """The names of tags. The initial value is the list of their names."""

    widget = TagsWidget

    def __init__(self) -> None:
        super().__init__(
            required=False,
            label=_("Tags"),
            help_text=_("Choose tags, or type a new name and press Enter."),
        )

    def clean(self, value: Any) -> QuerySet[Tag] | list[str]:
        """Return the chosen tags. If one of them is new, return the names of all.

        One query. The rows of existing tags are compared with the log when two users edit a task.
        """
        sent = [text for text in value or [] if text.strip()]
        try:
            check_tag_count(len({fold_key(name) for name in sent}))
            names: list[str] = check_values(TaskCreate, {"tags": sent})["tags"]
        except Problem as problem:
            raise ValidationError(list_sentences(problem)) from None
        folded = {fold_key(name) for name in names}
        tags = Tag.objects.filter(name_folded__in=sorted(folded))
        return tags if len(tags) == len(folded) else names

    def has_changed(self, initial: Any, data: Any) -> bool:
        return {fold_key(name) for name in initial or []} != {fold_key(n) for n in data or []}
