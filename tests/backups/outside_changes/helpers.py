"""Backups of settings, one after the other, for the tests of changes outside KVOps."""

from backups.generations import start as generation_start
from backups.models import Generation, OutsideSearch
from tests import make
from tests.backups.changes import helpers as change_helpers
from tests.backups.changes.helpers import KEY, OLD
from tests.prepared import step

SECRET = b"wrangler-put-this-value"


def backed_up(estate: make.Estate, prefix: str = "mail:") -> Generation:
    """A routine backup of QA's settings, verified and compared with the one before it."""
    made = generation_start.start_backup(estate.qa, prefixes=[prefix], actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    assert made.status == Generation.Status.VERIFIED, (made.status, made.problem, made.run.error)
    return made


def settings(estate: make.Estate) -> make.Estate:
    """Three keys of settings, scanned, and backed up for the first time."""
    step("settings", build=lambda: _settings(estate))
    return estate


def _settings(estate: make.Estate) -> None:
    for name in ("mail:from", "mail:to"):
        estate.put(estate.qa, name, OLD, metadata='{"v":1}')
    change_helpers.ready(estate)
    backed_up(estate)


def found(generation: Generation) -> dict[str, str]:
    """The keys that the search in this backup found, with the kind of change."""
    return dict(searched(generation).changes.values_list("name", "kind"))


def searched(generation: Generation) -> OutsideSearch:
    """The search in this backup."""
    return OutsideSearch.objects.select_related("namespace__environment").get(generation=generation)


def wrangler_put(estate: make.Estate, name: str = KEY, data: bytes = SECRET, **more: object) -> None:
    """Somebody writes a key past the product."""
    estate.put(estate.qa, name, data, **{"metadata": '{"v":1}', **more})


def wrangler_delete(estate: make.Estate, name: str) -> None:
    """Somebody deletes a key past the product."""
    estate.cloudflare.remove(estate.qa.namespace_id, name)
