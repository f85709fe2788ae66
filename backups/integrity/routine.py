"""The checks against D1 that a schedule starts by itself."""

from audit import log
from backups.datasets import registry as datasets
from backups.generations.routine import newest
from backups.integrity import start as integrity
from backups.integrity.start import CheckRefused
from backups.models import Generation
from kvops.models import Environment
from kvops.runs import driver as runs
from kvops.schedules.jobs import Begun


def check_newest(environment: Environment, actor: log.Actor) -> Begun:
    """Compare the newest verified copy of each dataset's keys with D1."""
    begun = Begun()
    for generation in newest(environment):
        covered = [datasets.dataset_for(generation.namespace.binding, prefix) for prefix in generation.prefixes]
        if generation.status == Generation.Status.VERIFIED and all(covered):
            try:
                begun.runs.append(integrity.create_check(generation, actor=actor).run)
            except (CheckRefused, runs.AlreadyOpen) as refused:
                begun.refused += refused.args[:1]
    return begun
