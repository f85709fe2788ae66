"""The checks against D1 that a schedule starts by itself."""

from audit import log
from backups import datasets, integrity
from backups.integrity import CheckRefused
from backups.models import Generation
from backups.routine import newest
from kvops import runs
from kvops.models import Environment
from kvops.schedules import Begun


def check(environment: Environment, actor: log.Actor) -> Begun:
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
