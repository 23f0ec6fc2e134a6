"""The names of apps, models and columns, which screens show, in the language of the page.

Django makes the name of a column of its attribute: “external ref” of external_ref. Such a name is
a text of the catalog like any other. Names that were written into the models would be a part of
their migrations.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.contrib.admin import AdminSite
from django.db.models import Field
from django.utils.translation import gettext_lazy

# Plurals that are not the name and an “s”, which is what Django makes of a name.
PLURALS = {"deliverys": "deliveries"}


def translate_names(site: AdminSite) -> None:
    """Make the names of the models that have pages in the admin, and of their columns, texts that
    are translated when they are shown.
    """
    for named, attribute in find_names(site):
        name = str(getattr(named, attribute))
        setattr(named, attribute, gettext_lazy(PLURALS.get(name, name)))


def find_names(site: AdminSite) -> Iterator[tuple[object, str]]:
    """Yield each object that has such a name, and the attribute that contains it."""
    for options in (model._meta for model in apps.get_models() if site.is_registered(model)):
        yield options.app_config, "verbose_name"
        yield options, "verbose_name"
        yield options, "verbose_name_plural"
        for column in options.get_fields(include_parents=False):
            if isinstance(column, Field):  # not the other end of a relation
                yield column, "verbose_name"
