"""The app configuration."""

from django.apps import AppConfig

OPERATIONS = (
    "kvops.inventory",
    "kvops.runs",
    "kvops.schedules",
    "kvops.approvals",
    "kvops.notifications",
    "kvops.environments",
    "kvops.roles",
    "kvops.references",
    "kvops.runbook",
    "kvops.supervision",
    "kvops.doctor",
)
"""The features of this app, a feature after those whose runs it follows."""


class KvopsConfig(AppConfig):
    """Environments, people, categories, inventory, approvals, runs."""

    name = "kvops"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks and the receiver by which a worker process reports its end; start Sentry.

        Sign-ins wait for each other instead of being refused.
        """
        from kvops import checks  # noqa: F401, PLC0415  (registers them, once the models are there)
        from kvops.operations import registry  # noqa: PLC0415  (needs the models)
        from kvops.people import signin  # noqa: PLC0415  (needs the settings)
        from kvops.site import sentry  # noqa: PLC0415  (needs the settings)
        from kvops.supervision import cluster  # noqa: F401, PLC0415  (before a cluster forks its workers)

        registry.collect(OPERATIONS)
        signin.wait_in_line()
        sentry.start()
