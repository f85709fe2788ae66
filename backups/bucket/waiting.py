"""The alarms of the buckets, for the overview and the page of the storage, and those that differ, for the menu."""

from collections.abc import Collection, Iterable, Iterator

from django.db.models import Exists, OuterRef, QuerySet
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from backups.bucket import protection as bucket_protection, reconcile as bucket_reconcile
from backups.models import BucketProtection, StoredObject
from kvops import timing
from kvops.models import Environment, Person
from kvops.operations.registry import look_of
from kvops.overview.estate import Estate
from kvops.overview.key_alarms import Alarm

Lock, Problem, Status = BucketProtection.Lock, BucketProtection.Problem, StoredObject.Status


def with_differences(_person: Person) -> QuerySet[Environment]:
    """The environments with a backup whose object is missing from the bucket, or was changed in it."""
    wrong = StoredObject.objects.needing_a_look().filter(status__in=StoredObject.WRONG)
    return Environment.objects.filter(Exists(wrong.filter(environment=OuterRef("pk"))))


def alarms(estate: Estate) -> Iterator[Alarm]:
    """The alarms of all buckets."""
    environments = list(estate.environments.values())
    yield from differing(environments)
    yield from unprotected(bucket_protection.known_of(environments).values())


def differing(environments: Collection[Environment]) -> list[Alarm]:
    """Alarms for buckets that differ from the backups."""
    found = bucket_reconcile.buckets(environments)
    return [alarm for bucket in found for alarm in _differences(bucket)]


def unprotected(protections: Iterable[BucketProtection]) -> list[Alarm]:
    """Alarms for buckets that are not locked, are not private or are not known."""
    return [alarm for protection in protections for alarm in _unprotected(protection.environment, protection)]


def _differences(bucket: bucket_reconcile.BucketListings) -> Iterator[Alarm]:
    name = {"environment": bucket.environment.name}
    if wrong := bucket.wrong:
        title = _("The bucket of %(environment)s differs from its backups") % name
        text = " · ".join(f"{look_of(f'object_{status}').word}: {_up_to(n)}" for status, n in wrong.items())
        worst = next(one for one in (Status.MISSING, Status.CHANGED, Status.UNKNOWN) if one in wrong)
        level = "warning" if worst == Status.UNKNOWN else "danger"
        url = f"{reverse('backups:storage')}?environment={bucket.environment.slug}&status=wrong#objects"
        yield Alarm(level, f"object.{worst.value}", title, text, url, _("See details"), environment=bucket.environment)
    if bucket.uploads:
        title = _("The bucket of %(environment)s holds unfinished uploads") % name
        text = _("KVOps never uses multipart uploads, so something else writes under the prefix of the backups.")
        url = f"{reverse('backups:storage')}#uploads"
        yield Alarm("warning", "bucket.uploads", title, text, url, _("See details"), environment=bucket.environment)


def _up_to(n: int) -> str:
    """A number of objects; "more than" the greatest number that is counted if there are more."""
    most = number_format(bucket_reconcile.COUNTED, force_grouping=True)
    return _("more than %(n)s") % {"n": most} if n > bucket_reconcile.COUNTED else number_format(n)


def _unprotected(environment: Environment, protection: BucketProtection) -> Iterator[Alarm]:
    name, url, see = (
        {"environment": environment.name},
        f"{reverse('backups:storage')}#protection",
        _("See the instructions"),
    )
    if not protection.known and protection.problem != Problem.NEVER:
        title = _("Bucket protection of %(environment)s is unknown")
        yield Alarm("warning", "bucket.unknown", title % name, protection.why, url, see, environment=environment)
    titles = {
        Lock.MISSING: _("The bucket of %(environment)s does not lock the backups"),
        Lock.DISABLED: _("The lock on the backups of %(environment)s is disabled"),
        Lock.SHORT: _("The lock on the backups of %(environment)s is too short"),
        Lock.NARROW: _("The lock of %(environment)s covers only part of the backups"),
    }
    if unlocked := titles.get(Lock(protection.lock)):
        text = _("Anyone with the bucket's credentials can delete backups younger than %(days)s days.")
        text %= {"days": timing.RETENTION_DAYS}
        yield Alarm("danger", "bucket.unprotected", unlocked % name, text, url, see, environment=environment)
    if protection.wider:
        title = _("A lock of %(environment)s covers more than the backups")
        text = _("Other data of the bucket cannot be deleted or overwritten either: %(rules)s.")
        text %= {"rules": ", ".join(protection.wider)}
        yield Alarm("warning", "bucket.wide_lock", title % name, text, url, see, environment=environment)
    if protection.deletes:
        title = _("Lifecycle rules of the bucket of %(environment)s delete backups")
        text = _("Lifecycle rules delete objects under the prefix of the backups: %(rules)s.")
        text %= {"rules": ", ".join(protection.deletes)}
        yield Alarm("danger", "bucket.lifecycle", title % name, text, url, see, environment=environment)
    if protection.public:
        title = _("Anybody can read the bucket of %(environment)s")
        text = _("The bucket is public at %(hosts)s.") % {"hosts": ", ".join(protection.public)}
        yield Alarm("danger", "bucket.public", title % name, text, url, see, environment=environment)
