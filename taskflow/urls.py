"""The addresses."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.generic import RedirectView

from taskflow.admin.site import search
from taskflow.api import api
from taskflow.http import health
from taskflow.tenancy.checks import find_violations


def readyz(request: HttpRequest) -> JsonResponse:
    return health.readyz(request, questions=(find_violations,))


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/search/", admin.site.admin_view(search)),
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    path("livez", health.livez),
    path("readyz", readyz),
]
