"""Comparisons: a backup against a later one, or against the present contents of KV. They only read.

The work is a run (`run`); it keeps only the names that differ, so that a page of them is one index.
"""

from collections import Counter

from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups.comparisons import run as comparison_run
from backups.models import Comparison, ComparisonEntry, Generation, Restore
from kvops.models import Namespace, Person, Run
from kvops.prefixes import common
from kvops.refusals import Refused
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done
from kvops.wording import say

Status = Generation.Status
COMPARABLE = Generation.COMPARABLE


class ComparisonRefused(Refused):
    """The two sides cannot be compared; the message is one sentence."""


def comparable(generation: Generation) -> QuerySet[Generation]:
    """The backups to compare with, newest first. The start of the comparison checks for common keys."""
    found = Generation.objects.filter(namespace__binding=generation.namespace.binding, status__in=COMPARABLE)
    return found.exclude(pk=generation.pk).select_related("environment", "namespace").order_by("-pk")


def of_backups(one: Generation, other: Generation, *, actor: log.Actor, person: Person | None = None) -> Comparison:
    """Compare two backups, the later against the earlier. An existing comparison of the two is returned instead.

    Raises ComparisonRefused and run_driver.AlreadyOpen.
    """
    earlier, later = sorted((one, other), key=lambda backup: (backup.started_at, backup.pk))
    for backup in (earlier, later):
        _insist_comparable(backup)
    if earlier.pk == later.pk:
        raise ComparisonRefused(_("A backup cannot be compared with itself. Choose another one."))
    if earlier.namespace.binding != later.namespace.binding:
        raise ComparisonRefused(_("The two backups are of different bindings."))
    if earlier.digest_key != later.digest_key:
        raise ComparisonRefused(
            _("The digests of the two backups were made with different keys, so they cannot show the differences.")
        )
    if not common(earlier.prefixes, later.prefixes):
        raise ComparisonRefused(_("The two backups have no prefix in common. Choose another one."))
    with log.transaction():
        known = Comparison.objects.filter(generation=earlier, other=later).first()
        return known or _start(earlier, later, later.namespace, None, actor=actor, person=person)


def with_kv(
    generation: Generation,
    namespace: Namespace,
    *,
    actor: log.Actor,
    person: Person | None = None,
    restore: Restore | None = None,
) -> Comparison:
    """Compare a backup with the current contents of a namespace.

    With a restore, only the entries that it wrote are compared, in its namespace. Raises ComparisonRefused and
    run_driver.AlreadyOpen.
    """
    _insist_comparable(generation)
    if namespace.binding != generation.namespace.binding:
        raise ComparisonRefused(_("The backup is of another binding."))
    with log.transaction():
        return _start(generation, None, namespace, restore, actor=actor, person=person)


def _insist_comparable(generation: Generation) -> None:
    if generation.status not in COMPARABLE:
        sentence = _("Backup %(pk)s cannot be compared; it is: %(status)s.")
        raise ComparisonRefused(say(sentence, pk=generation.pk, status=Status(generation.status).label))
    if not generation.is_here:
        raise ComparisonRefused(_("The backup is in a bucket that the environment no longer uses."))


def _start(
    generation: Generation,
    other: Generation | None,
    namespace: Namespace,
    restore: Restore | None,
    *,
    actor: log.Actor,
    person: Person | None,
) -> Comparison:
    against = other.pk if other else f"KV {namespace}"
    run = run_driver.create(
        Run.Kind.COMPARISON,
        subject=f"generation:{generation.pk}",
        label=f"{generation.pk} ↔ {against}"[:300],
        actor=actor,
        person=person,
        environment=namespace.environment,
        total=restore.names if restore else generation.keys,
    )
    made = Comparison.objects.create(
        generation=generation,
        other=other,
        namespace=namespace,
        restore=restore,
        run=run,
        person=person,
        actor=actor.text,
    )
    _record(Action.CONTRAST_STARTED, made, actor, {})
    return made


def compare_backups(lease: Lease) -> Again | None:
    """One step of a comparison; the last step counts the differences."""
    related = ("generation__environment", "other__environment", "namespace__environment", "restore")
    mine = Comparison.objects.select_related(*related).get(run=lease.run)
    equal = comparison_run.step(mine, lease)
    if isinstance(equal, Again):
        return equal
    kinds = Counter(dict(mine.entries.values_list("kind").annotate(n=Count("pk"))))
    found: dict[str, JSON] = {**{kind: kinds[kind] for kind in ComparisonEntry.Kind.values}, "equal": equal}
    with lease.checkpoint(Done(found), cursor={}, done=lease.run.total or 0, note=""):
        Comparison.objects.filter(pk=mine.pk, finished_at=None).update(finished_at=Now(), found=found)
        _record(Action.CONTRAST_FINISHED, mine, lease.actor, found)
    return None


def made_with(generation: Generation) -> QuerySet[Comparison]:
    """The comparisons with this backup on one side, newest first."""
    found = Comparison.objects.filter(Q(generation=generation) | Q(other=generation), restore=None)
    return found.select_related("generation", "other", "namespace__environment", "run").order_by("-pk")


def _record(action: Action, made: Comparison, actor: log.Actor, details: dict[str, JSON]) -> None:
    log.record(
        action,
        actor=actor,
        environment=made.namespace.environment.slug,
        subject=f"generation:{made.generation_id}",
        subject_label=str(made)[:200],
        details={"comparison": made.pk, **details},
    )
