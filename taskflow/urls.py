"""The addresses."""

from __future__ import annotations

from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.generic import RedirectView

from accounts.wallcheck import find_breaches
from taskflow import health
from taskflow.admin import search
from taskflow.api import api


def readyz(request: HttpRequest) -> JsonResponse:
    return health.readyz(request, questions=(find_breaches,))


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/search/", admin.site.admin_view(search)),
    path("admin/", admin.site.urls),
    path("api/v1/", api.urls),
    path("livez", health.livez),
    path("readyz", readyz),
]
