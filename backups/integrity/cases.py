"""Cases: an operator names the person who looks into the differences of a failed check, and later the outcome.

There is one open case per dataset, environment and kind of source, for all checks that fail meanwhile. It is a to-do of
its owner: on the overview, in the list of to-dos, and in a notice to owner and operators once it is overdue. A later
check that passes closes it, also one within a deletion.
"""

from collections.abc import Iterator
from datetime import date

from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now, TruncDate
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.translation import gettext, gettext_lazy as _, ngettext

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups.integrity.backup_side import left_out
from backups.models import Check, DifferenceCase
from backups.models.integrity import CaseQuerySet, source_of
from kvops.models import Person, Role
from kvops.overview.estate import Estate
from kvops.overview.key_alarms import Alarm
from kvops.overview.lines import MOST
from kvops.refusals import Refused
from kvops.runbook import todo
from kvops.runbook.secrets import insist_no_secret
from kvops.wording import insist_explained, labelled, say

LONGEST = 2_000
"""Characters of a note or a reason."""

Outcome = DifferenceCase.Outcome
_OF_NEWER = Q(outcome=Outcome.ACCEPTED, failed__newer__gt=0, failed__newer=F("failed__differences"))
"""Cases that accepted rows that are newer in D1. D1 lives on, so a later check may find more of them."""


class CaseRefused(Refused):
    """The case cannot be changed this way; the message gives the reason."""


def open_case(check: Check) -> DifferenceCase | None:
    """The open case that the check belongs to."""
    return _named().about(check).still_open().first()


def last_closed(check: Check) -> DifferenceCase | None:
    """The newest closed case that was opened for this check or an earlier one."""
    return _named().about(check).filter(closed_at__isnull=False, failed__lte=check.pk).order_by("-pk").first()


def assign(check: Check, *, owner: Person, due: date, note: str, by: Person) -> DifferenceCase:
    """Open a case for a failed check, or give the open one another owner, day or note. Raises CaseRefused."""
    note = note.strip()[:LONGEST]
    insist_no_secret(note)
    with log.transaction():
        _insist_operator(by)
        if check.outcome != Check.Outcome.FAILED:
            raise CaseRefused(_("Only a check with differences needs a person who looks into it."))
        if due < todo.today():
            raise CaseRefused(_("Choose a day from today on."))
        if not any(owner.holds(role) for role in Role):
            raise CaseRefused(_("The owner must hold a role and have an active account."))
        found = _locked(check)
        if found is None:
            _insist_current(check)
            found = DifferenceCase.objects.create(
                environment=check.environment,
                dataset=check.dataset,
                source=source_of(check),
                failed=check,
                opened_by=by,
                owner=owner,
                due=due,
                note=note,
            )
            action = Action.CASE_OPENED
        else:
            DifferenceCase.objects.filter(pk=found.pk).update(owner=owner, due=due, note=note)
            found.refresh_from_db()
            action = Action.CASE_CHANGED
        _record(action, found, by.actor)
    return found


def settle(check: Check, *, outcome: str, reason: str, by: Person) -> DifferenceCase:
    """Record the outcome of the open case; all but *unexplained* close it. Raises CaseRefused."""
    reason = reason.strip()[:LONGEST]
    insist_no_secret(reason)
    with log.transaction():
        _insist_operator(by)
        if outcome not in DifferenceCase.CHOSEN:
            raise CaseRefused(_("Choose an outcome."))
        if outcome in DifferenceCase.REASONED:
            insist_explained(reason, CaseRefused, _("Give the reason."))
        found = _locked(check)
        if found is None:
            raise CaseRefused(_("Nobody looks into these differences now, or the case was closed meanwhile."))
        fields: dict[str, object] = {"outcome": outcome, "reason": reason}
        if outcome != Outcome.UNEXPLAINED:
            fields |= {"closed_by": by, "closed_at": Now()}
        DifferenceCase.objects.filter(pk=found.pk).update(**fields)
        found.refresh_from_db()
        _record(Action.CASE_CLOSED if found.closed_at else Action.CASE_CHANGED, found, by.actor)
    return found


def check_passed(check: Check, actor: log.Actor) -> None:
    """Close the open case if this check, which passed, covers all keys of the failed one; in the caller's transaction.

    Every check ends here: one that is a run of its own, and one within a deletion.
    """
    found = _locked(check)
    if found is None or found.failed_id > check.pk or not covers(check, found.failed):
        return
    DifferenceCase.objects.filter(pk=found.pk).update(outcome=Outcome.PASSED, passed=check, closed_at=Now())
    found.refresh_from_db()
    _record(Action.CASE_CLOSED, found, actor)


def covers(passed: Check, failed: Check) -> bool:
    """Whether the check that passed compared every key of the failed one, and left none out."""
    wide = tuple(_prefixes(passed))
    return all(prefix.startswith(wide) for prefix in _prefixes(failed)) and not left_out(passed)


def _prefixes(check: Check) -> list[str]:
    """The prefixes of the keys that a check compared; without a backup of KV, that of its dataset."""
    return check.generation.prefixes if check.kind == Check.Source.KV and check.generation else [check.dataset.prefix]


def as_todos() -> Iterator[todo.OpenTodo]:
    """The open cases as to-dos of their owners."""
    for case in _named().still_open():
        yield todo.OpenTodo(
            say(_("Find the cause of the differences: %(case)s"), case=case),
            case.owner,
            case.due,
            f"{reverse('backups:check', args=[case.failed_id])}#case",
            f"check:{case.failed_id}",
            environment=case.environment,
            attends=True,
        )


def without_a_case(_person: Person | None = None) -> QuerySet[Check]:
    """The newest checks of KV that failed. A case that is open, or that was closed after the check, attends to it."""
    finished = Check.objects.of_kv().exclude(outcome=Check.Outcome.PENDING)
    newest = finished.order_by("dataset", "environment", "-pk").distinct("dataset", "environment").values("pk")
    same = {"dataset": OuterRef("dataset"), "environment": OuterRef("environment")}
    of_kv = DifferenceCase.objects.filter(source=Check.Source.KV, **same)
    attended = of_kv.filter(Q(closed_at=None) | Q(closed_at__gte=OuterRef("finished_at")))
    later = DifferenceCase.objects.filter(source=Check.Source.KV, pk__gt=OuterRef("pk"), **same)
    of_newer = Exists(of_kv.filter(_OF_NEWER, ~Exists(later))) & Q(newer=F("differences"))
    return Check.objects.filter(~Exists(attended) & ~of_newer, pk__in=newest, outcome=Check.Outcome.FAILED)


def overdue() -> list[DifferenceCase]:
    """The open cases whose day is over."""
    return list(_named().still_open().filter(due__lt=TruncDate(Now())))


def overdue_of(person: Person) -> QuerySet[DifferenceCase]:
    """The person's own overdue cases, for the menu."""
    return DifferenceCase.objects.still_open().filter(owner=person, due__lt=TruncDate(Now()))


def alarms(_estate: Estate) -> Iterator[Alarm]:
    """One alarm for each newest check of KV with differences that nobody looks into, and for each overdue case."""
    checks = without_a_case().select_related("dataset", "environment").order_by("dataset__name", "environment__order")
    for check in checks:
        yield Alarm(
            "danger",
            "difference.unattended",
            _unattended(check.differences),
            labelled(check.environment.name, check.dataset.name),
            reverse("backups:check", args=[check.pk]),
            gettext("What now?"),
            check.finished_at,
            check.environment,
            group=check.dataset.name,
            n=check.differences,
            together=_unattended,
        )
    for case in overdue()[:MOST]:
        yield Alarm(
            "danger",
            "difference.overdue",
            gettext("The cause of differences with D1 is overdue"),
            labelled(case.environment.name, f"{case.dataset.name}, {case.owner.name}"),
            reverse("backups:check", args=[case.failed_id]),
            gettext("See details"),
            case.opened_at,
            case.environment,
        )


def _unattended(n: int) -> str:
    title = ngettext("Nobody looks into %(n)s difference with D1", "Nobody looks into %(n)s differences with D1", n)
    return title % {"n": number_format(n, force_grouping=True)}


def _named() -> CaseQuerySet:
    return DifferenceCase.objects.select_related(
        "dataset", "environment", "owner", "opened_by", "closed_by", "failed__generation", "passed"
    )


def _locked(check: Check) -> DifferenceCase | None:
    found = DifferenceCase.objects.select_for_update(of=("self",)).select_related(
        "dataset", "environment", "failed__generation", "failed__environment"
    )
    return found.about(check).still_open().first()


def _insist_operator(by: Person) -> None:
    if not by.holds(Role.OPERATOR):
        raise CaseRefused(_("Only an operator can do this."))


def _insist_current(check: Check) -> None:
    """Refuse a case for differences that a later check no longer found."""
    later = Check.objects.passed().filter(environment=check.environment_id, dataset=check.dataset_id, pk__gt=check.pk)
    if any(
        source_of(passed) == source_of(check) and covers(passed, check)
        for passed in later.select_related("generation", "dataset")
    ):
        raise CaseRefused(_("A later check of the same keys passed: nothing is left to look into."))


def _record(action: Action, case: DifferenceCase, actor: log.Actor) -> None:
    log.record(action, actor=actor, **case.failed.audited, details=_details(case))


def _details(case: DifferenceCase) -> dict[str, JSON]:
    return {
        "case": case.pk,
        "dataset": case.dataset.name,
        "owner": str(case.owner),
        "due": case.due.isoformat(),
        "note": case.note,
        "outcome": case.outcome,
        "reason": case.reason,
        "passed": case.passed_id,
    }
