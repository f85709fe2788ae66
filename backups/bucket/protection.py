"""Bucket protection: a lock on the backups, lifecycle rules, and public access (hazards A16, B19).

Cloudflare's REST API is asked with the read token, before each backup and every half hour, or every five minutes while
something is wrong. It gives the lock rules, the lifecycle rules, the r2.dev address and the team's own domains. The
last answer is kept and each change is recorded. KVOps has no right to change any of it, and needs none.

These are alarms: a lock that is missing, disabled, shorter than 14 days, or whose prefix does not fit the backups; a
public bucket; a lifecycle rule that deletes backups. If the token lacks the permission, or the last answer is an hour
old, the protection is *not known*, with the reason, and never good.

A reviewer is shown the lock on the backup. For a clean-up of legacy keys or settings, anything but a lock of 14 days is
a risk (`kvops.approvals.risks`). It is derived again at the start and, after asking Cloudflare once more, before the
first delete. `locked_until` gives the time when R2 lets a backup go. The dates of retention go by the last rules that
were read, also while the protection is not known.
"""

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from django.db.models import F
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from backups.bucket import access as bucket_access, lock_rules
from backups.bucket.lock_rules import Locked
from backups.models import BucketProtection, Generation
from kvops import clock, timing
from kvops.cloudflare import (
    ApiError,
    AuthError,
    Cloudflare,
    CloudflareError,
    ConfigurationError,
    Domain,
    LifecycleRule,
    LockRule,
    NotFound,
    RateLimited,
    TransportError,
)
from kvops.connections.calls import Calls
from kvops.models import Environment, NotificationEvent
from kvops.notifications import outbox
from kvops.refusals import Sentence
from kvops.wording import say

logger = logging.getLogger(__name__)

RETENTION = timedelta(days=timing.RETENTION_DAYS)
"""R2 must refuse to delete the objects of a backup for this long: the least age at which a backup may be pruned."""


class NotKnown(Exception):
    """The protection of a bucket is not known; the message gives the reason and the next step."""


Lock, Problem = BucketProtection.Lock, BucketProtection.Problem


def known(environment: Environment) -> BucketProtection:
    """The protection of the bucket: Cloudflare's answer of the last hour, or the reason why it is not known."""
    return known_of([environment])[environment.pk]


def known_of(environments: Collection[Environment]) -> dict[int, BucketProtection]:
    """The same for the buckets of several environments, by the key of the environment."""
    rows = BucketProtection.objects.filter(environment__in=environments).annotate(age=Now() - F("read_at"))
    found = {row.environment_id: (row, row.age) for row in rows}
    return {one.pk: known_by(one, *found.get(one.pk, (None, None))) for one in environments}


def known_by(environment: Environment, found: BucketProtection | None, age: timedelta | None) -> BucketProtection:
    """The same by the row of the environment, if there is one, and the age of its answer."""
    if found is None or found.of != _of(environment):
        return BucketProtection(environment=environment, of=_of(environment), lock=Lock.UNKNOWN, problem=Problem.NEVER)
    found.environment = environment
    if found.known and (age is None or age.total_seconds() > timing.PROTECTION_KNOWN):
        found.lock, found.problem, found.wider, found.public = Lock.UNKNOWN, Problem.SILENT, [], []
        found.deletes, found.expiry, found.proposals = [], None, None
    return found


def locked_until(generation: Generation, protection: BucketProtection | None = None) -> Locked | None:
    """The end of the lock on the newest of a backup's objects; None if it is not known.

    Only rules that cover all of its names count. The lock begins when the backup was finished, or began if it is in
    writing. `protection` is that of the backup's environment, if the caller knows it already.
    """
    protection = protection or known(generation.environment)
    return last_locked_until(generation, protection) if protection.known else None


def last_locked_until(generation: Generation, protection: BucketProtection) -> Locked | None:
    """The same by the last rules that Cloudflare returned for the bucket, however old they are.

    Retention goes by it: a lock that is not known now is not taken for a shorter one.
    """
    if not generation.is_here:
        return None
    finished = generation.finished_at or generation.started_at
    return lock_rules.locked_until_by(rules_of(protection), generation.stem, finished)


def lock_of(generation: Generation, protection: BucketProtection | None = None) -> BucketProtection.Lock:
    """Whether the rules lock a finished backup for the least retention; `protection` as for `locked_until`."""
    protection = protection or known(generation.environment)
    if not protection.known or not generation.is_here:
        return Lock.UNKNOWN
    put_at = generation.finished_at or generation.started_at
    return Lock(lock_rules.judge(rules_of(protection), generation.stem, put_at=put_at, least=RETENTION))


def shown(generation: Generation) -> dict[str, object]:
    """The lock on a backup as shown to the reviewer. It is derived again before a deletion that relies on it."""
    state, end = lock_of(generation), locked_until(generation) or Locked()
    rules = rules_of(known(generation.environment)) if state != Lock.UNKNOWN else []
    return {
        "state": state.value,
        "forever": end.forever,
        "locked_until": end.until.astimezone(UTC).isoformat() if end.until else "",
        "rules": [rule.id for rule in rules if rule.enabled and generation.stem.startswith(rule.prefix)],
    }


def insist_known(generation: Generation, shown: Mapping[str, object]) -> None:
    """Raise NotKnown if the reviewer was shown a known lock and Cloudflare gives no answer now."""
    protection = known(generation.environment)
    if shown.get("state") not in {None, Lock.UNKNOWN} and protection.problem == Problem.SILENT:
        sentence = _("It is unknown whether R2 still locks backup %(pk)s: %(why)s")
        raise NotKnown(say(sentence, pk=generation.pk, why=protection.why))


def rules_of(protection: BucketProtection) -> list[LockRule]:
    """The lock rules as Cloudflare returned them."""
    return [LockRule(**rule) for rule in protection.rules]


def ask_when_due(environment: Environment, keep: Callable[[], None] = lambda: None) -> None:
    """Ask Cloudflare, unless it answered within the last half hour that all is well."""
    protection = known(environment)
    if (
        not protection.good
        or protection.read_at is None
        or -clock.seconds_until(protection.read_at) >= timing.PROTECTION_CHECK
    ):
        ask_cloudflare(environment, keep)


def ask_cloudflare(environment: Environment, keep: Callable[[], None] = lambda: None) -> BucketProtection:
    """Ask Cloudflare, then keep and record each change; `keep` is called about once a second meanwhile.

    It never fails: once the last answer is an hour old, an unanswered question is kept as not known, with the reason.
    """
    try:
        found, words = _ask(environment, keep), ""
    except CloudflareError as error:
        before = known(environment)
        if before.known and _may_pass(error):
            logger.warning("Cloudflare did not answer how the bucket of %s is protected: %s", environment.slug, error)
            return before
        found, words = _ProtectionAnswer(Lock.UNKNOWN, problem=_problem(error)), str(error)
    return _keep(environment, found, words)


def look(environment: Environment, client: Cloudflare) -> BucketProtection:
    """Ask Cloudflare with this client, and neither keep nor record the answer.

    Raises CloudflareError if there was no answer, or one that says nothing of the bucket.
    """
    bucket = environment.r2_bucket
    try:
        jurisdiction = _jurisdiction(environment)
        found = _judged(
            environment,
            client.bucket_locks(bucket, jurisdiction=jurisdiction),
            client.bucket_lifecycle(bucket, jurisdiction=jurisdiction),
            [
                client.managed_domain(bucket, jurisdiction=jurisdiction),
                *client.custom_domains(bucket, jurisdiction=jurisdiction),
            ],
        )
    except CloudflareError as error:
        if (problem := _problem(error)) in {Problem.SILENT, Problem.REFUSED}:
            raise
        found = _ProtectionAnswer(Lock.UNKNOWN, problem=problem)
    return BucketProtection(environment=environment, of=_of(environment), **found.columns())


@dataclass(frozen=True)
class _ProtectionAnswer:
    """Cloudflare's answer, in the columns of the table."""

    lock: BucketProtection.Lock
    rules: tuple[LockRule, ...] = ()
    wider: tuple[str, ...] = ()
    public: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    expiry: int | None = None
    proposals: int | None = None
    proposals_locked: bool = False
    problem: str = ""

    def columns(self) -> dict[str, Any]:
        return (
            asdict(self)
            | {"rules": [asdict(rule) for rule in self.rules]}
            | {"wider": list(self.wider), "public": list(self.public), "deletes": list(self.deletes)}
        )


class _AnotherAccount(ConfigurationError):
    """The endpoint belongs to another account, so it reaches another bucket of the same name."""


def _ask(environment: Environment, keep: Callable[[], None]) -> _ProtectionAnswer:
    bucket, jurisdiction = environment.r2_bucket, _jurisdiction(environment)
    with Calls(environment, keep) as calls:
        client = calls.client
        locked = calls.submit(lambda: client.bucket_locks(bucket, jurisdiction=jurisdiction))
        lifecycle = calls.submit(lambda: client.bucket_lifecycle(bucket, jurisdiction=jurisdiction))
        managed = calls.submit(lambda: client.managed_domain(bucket, jurisdiction=jurisdiction))
        custom = calls.submit(lambda: client.custom_domains(bucket, jurisdiction=jurisdiction))
        domains = [calls.outcome(managed), *calls.outcome(custom)]
        rules, deleting = calls.outcome(locked), calls.outcome(lifecycle)
        return _judged(environment, rules, deleting, domains)


def _judged(
    environment: Environment,
    rules: Sequence[LockRule],
    lifecycle: Sequence[LifecycleRule],
    domains: Sequence[Domain],
) -> _ProtectionAnswer:
    root, proposals = bucket_access.root(environment), bucket_access.proposals_root(environment)
    deleting = [rule for rule in lifecycle if rule.enabled]
    return _ProtectionAnswer(
        Lock(lock_rules.judge(rules, root, put_at=clock.now(), least=RETENTION)),
        tuple(rules),
        tuple(rule.id for rule in lock_rules.wider(rules, root, environment.key_template.partition("{")[0])),
        tuple(domain.name for domain in domains if domain.enabled),
        tuple(rule.id for rule in deleting if lock_rules.meet(rule.prefix, root)),
        lock_rules.expiry(deleting, bucket_access.investigations_root(environment)),
        lock_rules.expiry(deleting, proposals),
        any(rule.enabled and lock_rules.meet(rule.prefix, proposals) for rule in rules),
    )


def _jurisdiction(environment: Environment) -> str:
    """The bucket's jurisdiction, from its endpoint. Raises ConfigurationError for the endpoint of another account."""
    host = urlsplit(environment.r2_endpoint).hostname or ""
    r2 = re.fullmatch(r"([0-9a-f]{32})(?:\.([a-z]+))?\.r2\.cloudflarestorage\.com", host)
    if r2 and r2[1] != environment.account_id:
        sentence = gettext_noop("The endpoint of %(environment)s is of account %(account)s, its tokens are not.")
        raise _AnotherAccount(Sentence(sentence, environment=environment.slug, account=r2[1]))
    return (r2[2] or "") if r2 else ""


def _keep(environment: Environment, found: _ProtectionAnswer, words: str) -> BucketProtection:
    columns = found.columns() | {"of": _of(environment)}
    with log.transaction():
        # The lock on the row lets only one of two concurrent calls record the change.
        Environment.objects.select_for_update(no_key=True).only("pk").get(pk=environment.pk)
        before = BucketProtection.objects.filter(environment=environment).first()
        read = {} if found.problem else {"read_at": Now()}
        if found.problem and before and before.of == columns["of"]:
            del columns["rules"]  # the last ones that were read stay: see last_locked_until
        BucketProtection.objects.update_or_create(environment=environment, defaults=columns | read)
        protection = BucketProtection.objects.get(environment=environment)
        if before is None or any(getattr(before, name) != value for name, value in columns.items()):
            log.record(
                _action(protection),
                actor=log.Actor.system("bucket-protection"),
                environment=environment.slug,
                subject=f"environment:{environment.slug}",
                subject_label=f"{environment.r2_bucket}/{bucket_access.root(environment)}",
                details={
                    "lock": protection.lock,
                    "rules": [rule.id[:100] for rule in found.rules[:20]],
                    "wider": [name[:100] for name in protection.wider[:20]],
                    "public": [name[:100] for name in protection.public[:20]],
                    "deletes": [name[:100] for name in protection.deletes[:20]],
                    "expiry": protection.expiry,
                    "proposals": protection.proposals,
                    "problem": protection.problem,
                    "words": words[:500],
                },
            )
            # A refused token has a message of its own.
            if not protection.good and protection.problem != Problem.TOKEN:
                _tell(protection)
    return protection


def _tell(protection: BucketProtection) -> None:
    """Notify people of the bucket's problems, once each time they change."""
    lines = [say(_("Lock: %(state)s"), state=Lock(protection.lock).label)]
    if protection.problem:
        lines.append(say(Problem(protection.problem).label))
    if wider := ", ".join(protection.wider):
        lines.append(say(_("Lock rules that cover more than the backups: %(rules)s"), rules=wider))
    if deletes := ", ".join(protection.deletes):
        lines.append(say(_("Lifecycle rules that delete backups: %(rules)s"), rules=deletes))
    if hosts := ", ".join(protection.public):
        lines.append(say(_("Public at: %(hosts)s"), hosts=hosts))
    title = _("The bucket protection of %(environment)s is incomplete")
    outbox.post(
        NotificationEvent.BUCKET_UNPROTECTED,
        subject=f"environment:{protection.environment.slug}",
        title=say(title, environment=protection.environment.name),
        lines=lines,
        link=f"{reverse('backups:storage')}#protection",
        environment=protection.environment,
        occasion=clock.now().isoformat(timespec="seconds"),
    )


def _action(protection: BucketProtection) -> Action:
    if not protection.known:
        return Action.BUCKET_GUARD_UNKNOWN
    return Action.BUCKET_GUARDED if protection.good else Action.BUCKET_UNGUARDED


def _of(environment: Environment) -> str:
    place = f"{environment.r2_bucket}/{bucket_access.root(environment)}"
    return f"{environment.account_id} {environment.r2_endpoint} {place}"


def _may_pass(error: CloudflareError) -> bool:
    status = error.status if isinstance(error, ApiError) else 0
    later = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.REQUEST_TIMEOUT
    return later or isinstance(error, RateLimited | TransportError)


def _problem(error: CloudflareError) -> BucketProtection.Problem:
    match error:
        case _AnotherAccount():
            return Problem.ANOTHER_ACCOUNT
        case AuthError(token_unknown=True):
            return Problem.TOKEN
        case AuthError():
            return Problem.PERMISSION
        case NotFound():
            return Problem.NO_BUCKET
        case _ if _may_pass(error):
            return Problem.SILENT
    return Problem.REFUSED
