"""The work of schedules: checks of routine backups against D1."""

from audit import log
from backups.datasets import registry as dataset_registry
from backups.generations.routine import newest
from backups.integrity import start as check_start
from backups.models import Generation
from kvops.models import Environment
from kvops.schedules.jobs import Begun


def check_newest(environment: Environment, actor: log.Actor) -> Begun:
    """Compare the newest verified backup of each dataset's keys with D1."""
    begun = Begun()
    for generation in newest(environment):
        covered = [dataset_registry.dataset_for(generation.namespace.binding, prefix) for prefix in generation.prefixes]
        if generation.status == Generation.Status.VERIFIED and all(covered):
            with begun.or_refused():
                begun.runs.append(check_start.create_check(generation, actor=actor).run)
    return begun
