"""Admin pages that show a Markdown text of their row above the form."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from accounts.admin.recorded import get_actor
from tasks.admin.markdown import render_texts
from tasks.admin.trash import TrashableAdmin
from tasks.models.registry import require_project


class RenderedAdmin(TrashableAdmin):
    """Shows the text of `rendered_field` as people read it. The form below has it as written."""

    rendered_field = ""  # a field of the model
    change_form_outer_before_template = "admin/rendered_text.html"

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = kwargs.get("obj")
        if row is not None:
            text: str = getattr(row, self.rendered_field)
            project_id = require_project(row).pk
            context["rendered_text"] = render_texts(get_actor(request), [text], project_id)[0]
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)
        return response
