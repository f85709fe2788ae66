"""Backups, and the writes they make safe."""

from django.apps import AppConfig

OPERATIONS = (
    "backups.generations",
    "backups.masters",
    "backups.integrity",
    "backups.bucket",
    "backups.retention",
    "backups.vault",
    "backups.deletion",
    "backups.cleanup",
    "backups.outside_changes",
    "backups.restores",
    "backups.changes",
    "backups.clearing",
    "backups.comparisons",
    "backups.drills",
    "backups.investigations",
    "backups.families",
    "backups.history",
    "backups.overview",
)
"""The features of this app, a feature after those whose runs it follows."""


class BackupsConfig(AppConfig):
    """Backups, datasets, integrity checks, clean-up."""

    name = "backups"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Collect the features."""
        from kvops.operations import registry  # noqa: PLC0415  (needs the models)

        registry.collect(OPERATIONS)
