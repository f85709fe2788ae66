"""The app configuration."""

from django.apps import AppConfig


class KvopsConfig(AppConfig):
    """Environments, people, categories, inventory, approvals, runs."""

    name = "kvops"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks and the receiver by which a worker process reports its end; start Sentry."""
        from kvops import checks  # noqa: F401, PLC0415  (registers them, once the models are there)
        from kvops.site import sentry  # noqa: PLC0415  (needs the settings)
        from kvops.supervision import cluster  # noqa: F401, PLC0415  (before a cluster forks its workers)

        sentry.start()
