"""System checks: the conditions of an installation before it starts."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string

from kvops.operations import registry

TASKS = [f"kvops.tasks.{task}" for task in ("step", "canary", "look_into_bucket", "deliver")]
"""The functions that the queue calls by name."""


@register()
def tasks_are_there(**_kwargs: Any) -> list[CheckMessage]:
    """Check that every task of the queue exists."""
    errors: list[CheckMessage] = []
    for path in TASKS:
        try:
            import_string(path)
        except ImportError as error:
            errors.append(Error(f"{path} cannot be imported: {error}", id="kvops.E001"))
    return errors


@register()
def every_kind_has_its_feature(**_kwargs: Any) -> list[CheckMessage]:
    """Check that a feature claims each kind of run, of request and of notice, and answers each question."""
    return [Error(f"No feature claims {kind}.", id="kvops.E003") for kind in registry.missing()]


@register()
def queue_in_our_database(**_kwargs: Any) -> list[CheckMessage]:
    """Check that the queue lives in the database of the runs: a change and its wake-up task must commit together."""
    if settings.Q_CLUSTER.get("orm") != "default" or set(settings.DATABASES) != {"default"}:
        return [Error("django-q2 must use the ORM broker on the one database.", id="kvops.E002")]
    return []
