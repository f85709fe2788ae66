"""Backups, and the writes they make safe."""

from django.apps import AppConfig


class BackupsConfig(AppConfig):
    """Backups, datasets, integrity checks, clean-up."""

    name = "backups"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let the open cases of differences join the to-dos, and backups the overview."""
        from backups.integrity import cases  # noqa: PLC0415  (models exist only now)
        from backups.overview import source  # noqa: F401, PLC0415  (registers itself)
        from kvops.runbook import todo  # noqa: PLC0415

        todo.register(cases.as_todos, asked="my_todos_of_cases")
