"""System checks: the conditions of an installation before it starts."""

from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.utils.module_loading import import_string

from kvops.inventory import (
    reveal as key_reveal,
    story as key_story,
    value as key_value,
)
from kvops.inventory.key_list import rows as key_rows
from kvops.metrics import numbers as metrics_numbers
from kvops.operations import registry
from kvops.search import results as search_results
from kvops.supervision import sweep
from kvops.templatetags import runs as run_tags


def _named() -> Iterator[str]:
    yield metrics_numbers.BACKUP_AGES
    yield from (run_tags.WORKER_STOPPED, run_tags.ALL_STOPPED)
    yield from (*key_story.TOLD_BY, key_reveal.UNFIT, key_value.POLICY_EDITED, key_rows.SIZED_BY)
    yield from (f"kvops.tasks.{task}" for task in ("step", "canary", "look_into_bucket", "deliver"))
    yield from (*sweep.ALSO, *sweep.HOURLY)
    yield search_results.DELETED_KEYS


@register()
def functions_named_by_string(**_kwargs: Any) -> list[CheckMessage]:
    """Check that every function named by a string exists."""
    errors: list[CheckMessage] = []
    for path in _named():
        try:
            import_string(path)
        except ImportError as error:
            errors.append(Error(f"{path} cannot be imported: {error}", id="kvops.E001"))
    return errors


@register()
def every_kind_has_its_feature(**_kwargs: Any) -> list[CheckMessage]:
    """Check that a feature claims each kind of run, of request and of notice."""
    return [Error(f"No feature claims {kind}.", id="kvops.E003") for kind in registry.missing()]


@register()
def queue_in_our_database(**_kwargs: Any) -> list[CheckMessage]:
    """Check that the queue lives in the database of the runs: a change and its wake-up task must commit together."""
    if settings.Q_CLUSTER.get("orm") != "default" or set(settings.DATABASES) != {"default"}:
        return [Error("django-q2 must use the ORM broker on the one database.", id="kvops.E002")]
    return []
