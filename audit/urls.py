"""The addresses of the audit log, under ``/audit/``."""

from django.urls import path, re_path

from audit import views

app_name = "audit"
urlpatterns = [
    path("", views.entries, name="entries"),
    re_path(r"^entries\.(?P<kind>csv|jsonl)$", views.file, name="file"),
    path("<int:seq>/", views.entry, name="entry"),
]
