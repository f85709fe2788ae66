"""Backups, and the writes they make safe."""

from django.apps import AppConfig


class BackupsConfig(AppConfig):
    """Backups, datasets, integrity checks, clean-up."""

    name = "backups"
    default_auto_field = "django.db.models.BigAutoField"
