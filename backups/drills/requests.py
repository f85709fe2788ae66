"""Drills: the standing approval, and a new drill of an environment."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Sum
from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups.generations import coverage as family_coverage
from backups.models import Drill, DrilledBackup, Generation, GenerationEntry
from kvops import clock
from kvops.approvals import evidence, gate as approval_gate, standing
from kvops.models import ApprovalRequest, Environment, NotificationEvent, Person, Role, Run, Scratch
from kvops.notifications import outbox
from kvops.refusals import Refused
from kvops.runbook import procedures
from kvops.runs import driver as run_driver
from kvops.schedules.jobs import Begun
from kvops.wording import moment, say, several

FORMAT = 1
KIND = ApprovalRequest.Kind.DRILL
LARGEST = 1_000_000
"""Keys per backup; a rule may allow at most this many."""


class DrillRefused(Refused):
    """The drill is not possible now; the message is one sentence with the reason and the next step."""


def drill_rule(scratch: Scratch, *, cap: int, until: datetime) -> dict[str, object]:
    """The rule that a reviewer approves once for all drills until its end: the target and the most keys per backup."""
    environment = scratch.environment
    return {
        "format": FORMAT,
        "action": "drill",
        "environment": environment.slug,
        "production": environment.production,
        "account_id": environment.account_id,
        "binding": scratch.binding,
        "namespace_id": scratch.namespace_id,
        "namespace_title": scratch.title,
        "bucket": environment.r2_bucket,
        "cap": cap,
        "until": until.astimezone(UTC).isoformat(),
    }


def ask(environment: Environment, *, days: int, cap: int, by: Person) -> ApprovalRequest:
    """Ask another person to approve the rule of the drills. Raises DrillRefused and ApprovalRefused."""
    if not 1 <= days <= standing.LONGEST or not 1 <= cap <= LARGEST:
        raise DrillRefused(_("An approval lasts 1 to 90 days, and a drill uses 1 to 1,000,000 keys of a backup."))
    scratch = _scratch(environment)
    with log.transaction():
        until = clock.now() + timedelta(days=days)
        return approval_gate.submit(
            KIND,
            subject=_subject(environment),
            title=f"Restore drills in {environment.name} {scratch.title} for {several(days, 'day')}",
            evidence=drill_rule(scratch, cap=cap, until=until),
            requester=by,
            environment=environment,
            standing_until=until,
        )


def start(environment: Environment, *, by: Person) -> Drill:
    """Start a drill now. Raises DrillRefused, approval_gate.ApprovalRefused and run_driver.AlreadyOpen."""
    if not by.holds(Role.OPERATOR):
        raise DrillRefused(_("Only an operator can start a drill."))
    with log.transaction():
        return create(environment, actor=by.actor, person=by)


def create(environment: Environment, *, actor: log.Actor, person: Person | None = None) -> Drill:
    """Create a drill within the caller's `audit.log.transaction()`; a schedule does so too."""
    log.insist()
    scratch = _scratch(environment)

    def derived(approval: ApprovalRequest) -> str:
        until = approval.standing_until or clock.now()
        rule = drill_rule(scratch, cap=json.loads(approval.evidence)["cap"], until=until)
        return evidence.digest_of(evidence.canonical_evidence(rule))

    carried = standing.carry_in_force(KIND, _subject(environment), derive=derived, actor=actor, person=person)
    cap = json.loads(carried.evidence)["cap"]
    backups = [_planned(number, backup, cap) for number, backup in enumerate(_backups(environment), 1)]
    if not backups:
        raise DrillRefused(_("There is no verified backup for a drill yet."))
    run = run_driver.create(
        Run.Kind.DRILL,
        subject=_subject(environment),
        label=f"{environment.slug} {scratch.title}"[:300],
        actor=actor,
        person=person,
        environment=environment,
        approval=carried,
        total=sum(backup.keys for backup in backups),
    )
    drill = Drill.objects.create(
        environment=environment, approval=carried, run=run, namespace_id=scratch.namespace_id, title=scratch.title,
        actor=actor.text, person=person,
    )  # fmt: skip
    for backup in backups:
        backup.drill = drill
    DrilledBackup.objects.bulk_create(backups)
    details = {"backups": [backup.generation_id for backup in backups][:50], **_procedure(backups)}
    record_drill(Action.DRILL_STARTED, drill, actor=actor, details=details)
    return drill


def _procedure(backups: Sequence[DrilledBackup]) -> dict[str, JSON]:
    tried = [backup.generation for backup in backups]
    return procedures.begun_over("drill", [(one.namespace.binding, one.prefixes) for one in tried])


def scheduled(environment: Environment, actor: log.Actor) -> Begun:
    """A scheduled drill, if there are a scratch namespace and a backup; any other missing condition is reported."""
    begun = Begun()
    if Scratch.objects.filter(environment=environment).exists() and _backups(environment):
        with begun.or_refused():
            begun.runs.append(create(environment, actor=actor).run)
    return begun


def in_time(environment: Environment, _actor: log.Actor) -> Begun:
    """Notify once of an overdue drill, for a daily schedule."""
    mine = status_of(environment)
    if mine.late and mine.scratch and _backups(environment):
        last = mine.passed.finished_at if mine.passed else None
        never = _("No restore drill ever passed. Nobody knows whether a restore would work.")
        days = _("The last restore drill passed more than 35 days ago, at %(at)s.")
        outbox.post(
            NotificationEvent.DRILL_OVERDUE,
            subject=f"environment:{environment.slug}",
            occasion=last.date().isoformat() if last else "never",
            environment=environment,
            title=say(_("A restore drill is overdue: %(environment)s"), environment=environment.name),
            lines=[say(days, at=moment(last)) if last else say(never)],
            link=reverse("backups:drills"),
        )
    return Begun()


def record_drill(action: Action, drill: Drill, *, actor: log.Actor, digest: str = "", **details: object) -> None:
    """One audit entry about a drill, within the open transaction."""
    log.record(
        action,
        actor=actor,
        environment=drill.environment.slug,
        subject=f"drill:{drill.pk}",
        subject_label=f"{drill.environment.slug} {drill.title}"[:200],
        digest=digest,
        **details,  # type: ignore[arg-type]
    )


def close_backup(drill: Drill, backup: DrilledBackup, *, actor: log.Actor) -> None:
    """Record the result of a backup of the drill, within the open transaction."""
    DrilledBackup.objects.filter(pk=backup.pk, finished_at=None).update(finished_at=Now())
    backup.refresh_from_db()
    details = {
        "backup": backup.generation_id,
        "keys": backup.compared,
        "differing": backup.differing,
        "expired": backup.expired,
        "problem": backup.problem[:300],
    }
    record_drill(Action.DRILL_REHEARSED, drill, actor=actor, details=details)


def tell_failed(drill: Drill, backups: Sequence[DrilledBackup]) -> None:
    """Notify of the backups that could not be restored, within the open transaction."""
    bad = [backup for backup in backups if not backup.good]
    sentence = _("Backup %(backup)s: keys that differed from the backup: %(differing)s of %(keys)s. %(problem)s")
    outbox.post(
        NotificationEvent.DRILL_FAILED,
        subject=f"drill:{drill.pk}",
        environment=drill.environment,
        title=say(_("The restore drill failed: %(environment)s"), environment=drill.environment.name),
        lines=[
            say(
                sentence,
                backup=backup.generation_id,
                differing=f"{backup.differing:,}",
                keys=f"{backup.keys:,}",
                problem=backup.why,
            )
            for backup in bad[:10]
        ],
        link=reverse("backups:drill", args=[drill.pk]),
    )


def _subject(environment: Environment) -> str:
    """The subject of an environment's drills and of their standing approval."""
    return f"drill:{environment.slug}"


def _scratch(environment: Environment) -> Scratch:
    found = Scratch.objects.filter(environment=environment).select_related("environment").first()
    if found is None:
        sentence = _(
            "%(environment)s has no scratch namespace. Bind one that nothing else uses, with scratch = true, in"
            " environments.toml."
        )
        raise DrillRefused(say(sentence, environment=environment.name))
    return found


def _backups(environment: Environment) -> Sequence[Generation]:
    """The newest verified backup of each family, oldest first; a backup of several families comes once."""
    found = {backup.generation for _family, backup in family_coverage.in_environment(environment) if backup.generation}
    return sorted(found, key=lambda backup: backup.pk)


def _planned(number: int, generation: Generation, cap: int) -> DrilledBackup:
    kept = GenerationEntry.objects.filter(generation=generation, outcome=GenerationEntry.Outcome.KEPT).order_by("index")
    beyond = kept.values_list("index", flat=True)[cap : cap + 1].first()
    chosen = kept if beyond is None else kept.filter(index__lt=beyond)
    last = chosen.last()
    return DrilledBackup(
        generation=generation,
        number=number,
        keys=chosen.count(),
        bytes=chosen.aggregate(total=Sum("size"))["total"] or 0,
        last_index=last.index if last else -1,
    )


@dataclass(frozen=True)
class DrillStatus:
    """The drills of an environment: its scratch namespace, the standing approval, and the drills so far."""

    environment: Environment
    scratch: Scratch | None
    approval: ApprovalRequest | None
    asked: ApprovalRequest | None
    newest: Drill | None
    passed: Drill | None
    under_way: bool

    @property
    def tried(self) -> tuple[int, int]:
        """The number of keys that the last passed drill compared, and the number of all keys in its backups."""
        backups = self.passed.backups.all() if self.passed else DrilledBackup.objects.none()
        sums = backups.aggregate(compared=Sum("compared"), held=Sum("generation__keys"))
        return sums["compared"] or 0, sums["held"] or 0

    @property
    def soon_over(self) -> bool:
        """Whether the standing approval ends within a week."""
        return self.approval is not None and standing.soon_over(self.approval)

    @property
    def late(self) -> bool:
        """Whether no drill passed for 35 days: nothing then proves that a restore works."""
        if self.passed is None or self.passed.finished_at is None:
            return True
        return clock.now() - self.passed.finished_at > Drill.LATE


def all_statuses() -> list[DrillStatus]:
    """Every environment, in the order of clean-up."""
    return _statuses_of(list(Environment.objects.order_by("order")))


def status_of(environment: Environment) -> DrillStatus:
    """The drills of one environment."""
    return _statuses_of([environment])[0]


def _statuses_of(environments: Sequence[Environment]) -> list[DrillStatus]:
    newest_first = (
        Drill.objects.filter(environment__in=environments).select_related("run").order_by("environment", "-pk")
    )
    drills = newest_first.distinct("environment")
    newest = {one.environment_id: one for one in drills}
    passed = {one.environment_id: one for one in drills.filter(passed=True)}
    scratches = {one.environment_id: one for one in Scratch.objects.filter(environment__in=environments)}
    approvals = standing.asked_and_in_force(KIND, *map(_subject, environments))
    return [
        DrillStatus(
            environment=one,
            scratch=scratches.get(one.pk),
            approval=approvals[_subject(one)][1],
            asked=approvals[_subject(one)][0],
            newest=newest.get(one.pk),
            passed=passed.get(one.pk),
            under_way=one.pk in newest and newest[one.pk].run.is_open,
        )
        for one in environments
    ]
