"""Backups dated before the first start, some older than 14 days, a check of a key of many rows, a look at the code.

Needs Django; refuses other installations. They are real backups: the product lists the keys, writes to R2 and
verifies, with its clock set back meanwhile.
"""

from datetime import timedelta
from unittest.mock import patch

from django.conf import settings
from django.db.models import F

from audit import log
from backups.generations import start as generation_start
from backups.integrity import live
from backups.masters import start as masters_start
from backups.models import Dataset, Generation
from kvops import clock
from kvops.models import Environment, Namespace
from kvops.references import look as references_look
from kvops.runs import driver as run_driver
from sandbox.people import NotTheSandbox

ACTOR = log.Actor(None, "cli:sandbox")
DAYS_AGO = (35, 21, 8)


def create() -> None:
    """Back up `master:` in every environment, oldest first, then D1 as of today; raises NotTheSandbox."""
    if not settings.SANDBOX:
        raise NotTheSandbox("Backdated backups are for the sandbox.")
    for days in DAYS_AGO:
        for namespace in Namespace.objects.filter(binding="SETTINGS").select_related("environment"):
            _back_up(namespace, timedelta(days=days))
    for environment in Environment.objects.order_by("order"):
        made = masters_start.start_export(masters_start.choose(environment), actor=ACTOR, foreground=True)
        for _ in run_driver.drive_to_the_end(made.run):
            pass
        _verify(made)


def compare() -> None:
    """Let the worker compare the key `service-codes` of every environment with D1; raises NotTheSandbox."""
    if not settings.SANDBOX:
        raise NotTheSandbox("These checks are for the sandbox.")
    dataset = Dataset.objects.get(name="service-codes")
    for namespace in Namespace.objects.filter(binding=dataset.binding).select_related("environment"):
        live.start_live_check(dataset, namespace, actor=ACTOR, person=None)


def look() -> None:
    """Let the worker look at the deployed code of every environment; raises NotTheSandbox."""
    if not settings.SANDBOX:
        raise NotTheSandbox("This look is for the sandbox.")
    for environment in Environment.objects.order_by("order"):
        references_look.start(environment, actor=ACTOR)


def _back_up(namespace: Namespace, ago: timedelta) -> None:
    then = clock.now() - ago
    with patch("kvops.clock.now", lambda: then):
        generation = generation_start.start_backup(namespace, prefixes=["master:"], actor=ACTOR, foreground=True)
        for _ in run_driver.drive_to_the_end(generation.run):
            pass
    _verify(generation)
    Generation.objects.filter(pk=generation.pk).update(verified_at=F("verified_at") - ago)


def _verify(generation: Generation) -> None:
    generation.refresh_from_db()
    for _ in run_driver.drive_to_the_end(generation_start.start_verification(generation, actor=ACTOR, foreground=True)):
        pass
