"""The addresses of copies and clean-up."""

from django.urls import URLPattern

app_name = "backups"
urlpatterns: list[URLPattern] = []
