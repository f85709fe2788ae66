"""The backups that a search compares, and the keys that it leaves to the search of another backup.

A backup is compared with the one of the same prefixes before it. If there is none, because the family is new, it is
compared with a broader backup that held the same keys, so that no time is left out. A key is searched in the backup of
its own family if the schedule makes one, and in that of a broader family as long as there is none.

The earlier backup may be damaged or deleted by now. Its digests in Postgres are of KV's answer all the same.
"""

from collections.abc import Callable

from backups.models import Generation
from backups.models.generations import GenerationQuerySet
from kvops.models import Category, Family


def settings_backups() -> GenerationQuerySet:
    """Encrypted routine backups that may hold settings or unclassified keys."""
    sensitive = [category for category in Category if category.sensitive]
    routine = Generation.objects.filter(purpose=Generation.Purpose.ROUTINE, category__in=sensitive)
    return routine.exclude(recipients=[])


def same_keys(generation: Generation) -> GenerationQuerySet:
    """The backups of the same namespace and prefixes that were verified at some time, newest first."""
    same = {"namespace": generation.namespace_id, "prefixes": generation.prefixes, "exact": generation.exact}
    return settings_backups().once_verified().filter(**same).order_by("-started_at", "-pk")


def earlier_backup(newer: Generation) -> Generation | None:
    """The backup that this one is compared with; None if no earlier one can hold its keys."""
    same = same_keys(newer).filter(started_at__lt=newer.started_at).first()
    return same if same is not None or not _scheduled(newer) else _broader(newer)


def _broader(newer: Generation) -> Generation | None:
    older = settings_backups().once_verified().filter(namespace=newer.namespace_id, exact=False)
    older = older.filter(started_at__lt=newer.started_at)
    found = Generation.objects.filter(pk__in=older.newest_of_each().values("pk")).order_by("-started_at", "-pk")
    return next((one for one in found if all(_covers(one, prefix) for prefix in newer.prefixes)), None)


def _covers(generation: Generation, prefix: str) -> bool:
    return any(prefix.startswith(broader) for broader in generation.prefixes)


def _scheduled(generation: Generation) -> bool:
    """Whether the prefixes are those of a family that the schedule backs up."""
    family = Family.objects.filter(binding=generation.namespace.binding, interval_hours__gt=0)
    return not generation.exact and family.filter(pattern__in=generation.prefixes).exists()


def left_to_another(newer: Generation) -> Callable[[str, Family | None], bool]:
    """Whether the search leaves a key to the backups of its own family."""
    before = settings_backups().once_verified().filter(namespace=newer.namespace_id, exact=False)
    own = before.filter(started_at__lte=newer.started_at).order_by().values_list("prefixes", flat=True).distinct()
    backed_up = {prefixes[0] for prefixes in own if len(prefixes) == 1}
    scheduled = _scheduled(newer)

    def left(name: str, family: Family | None) -> bool:
        if family is None or not family.interval_hours or family.pattern not in backed_up - {*newer.prefixes}:
            return False
        longest = max((len(prefix) for prefix in newer.prefixes if name.startswith(prefix)), default=0)
        return scheduled or len(family.pattern) > longest

    return left
