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
)
"""The features of this app, a feature after those whose runs it follows."""


class BackupsConfig(AppConfig):
    """Backups, datasets, integrity checks, clean-up."""

    name = "backups"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Collect the features. Let the open cases of differences join the to-dos, and backups the overview."""
        from backups.integrity import cases  # noqa: PLC0415  (models exist only now)
        from backups.overview import source  # noqa: F401, PLC0415  (registers itself)
        from kvops.operations import registry  # noqa: PLC0415  (needs the models)
        from kvops.runbook import todo  # noqa: PLC0415

        registry.collect(OPERATIONS)
        todo.register(cases.as_todos, asked="my_todos_of_cases")
