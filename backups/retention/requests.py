"""Prune requests: expired backups are collected, approved by another person, and deleted by a run (`run`).

Each move is one conditional UPDATE and one audit entry. Only backups that `decide.decide` lets go are collected. A
request that is ended early begins no further backup, but finishes one that is half deleted, even if a person has lost
a right meanwhile.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.archive import digests
from backups.execution.lifecycle import Lifecycle
from backups.models import Generation, PruneEntry, PruneRequest
from backups.retention import evidence as prune_evidence, inputs as retention_inputs
from backups.retention.decide import State as Keeping
from backups.retention.inputs import Kept, Retention
from kvops.approvals import evidence
from kvops.models import ApprovalRequest, Environment, Person, Run
from kvops.refusals import Refused
from kvops.runbook import procedures
from kvops.runs import emergency
from kvops.wording import Words, columns, insist_explained, say

State = PruneRequest.State
CAP = 50
"""Backups of one request, so that its evidence stays within 64 KiB. The next request collects the rest."""


class PruneRefused(Refused):
    """The step is not possible now; the message is one sentence with the reason and the next step."""


def _send_back(prune: PruneRequest, actor: log.Actor, because: Words) -> None:
    """End the request; a new one collects its backups again."""
    ended = columns("ended_because", because)
    PRUNES.move(
        prune,
        [State.SUBMITTED, State.APPROVED],
        State.ENDED,
        Action.DISPOSAL_ENDED,
        actor=actor,
        values={"finished_at": Now(), **ended},
        details={"because": ended["ended_because"][:500]},
    )


def _moved(prune: PruneRequest) -> str:
    now = PruneRequest.objects.get(pk=prune.pk)
    return say(_("This is not possible any more: the prune request is %(state)s."), state=State(now.state).label)


PRUNES = Lifecycle(
    model=PruneRequest,
    name="prune",
    related=("environment", "approval", "run"),
    kind=ApprovalRequest.Kind.DELETE_GENERATIONS,
    run_kind=Run.Kind.PRUNE,
    running=State.DELETING,
    submitted=Action.DISPOSAL_SUBMITTED,
    approved=Action.DISPOSAL_APPROVED,
    started=Action.DISPOSAL_STARTED,
    label=lambda prune: str(prune)[:200],
    digest_of=lambda prune, _given: prune.objects_sha256,
    send_back=_send_back,
    refused=PruneRefused,
    moved=_moved,
    not_approved=_("The prune request is not approved: %(state)s."),
    not_stopped=_("Only a prune run that was stopped or failed can be ended early. Stop it first."),
    resumed=_("The prune run has already resumed. Load the page again."),
)
decided, move = PRUNES.decided, PRUNES.move


def due(environment: Environment) -> list[Kept]:
    """The oldest backups of the environment that can be deleted now, one more than a request takes."""
    return list(islice(retention_inputs.due(Generation.objects.filter(environment=environment)), CAP + 1))


def due_in_each(environments: Sequence[Environment], retention: Retention) -> Mapping[int, Sequence[Kept]]:
    """The same for each environment, by its key; a page reads the backups of all environments together."""
    found: dict[int, list[Kept]] = {one.pk: [] for one in environments}
    for kept in retention_inputs.due(Generation.objects.filter(environment__in=environments), retention):
        mine = found[kept.generation.environment_id]
        if len(mine) <= CAP:
            mine.append(kept)
        elif all(len(each) > CAP for each in found.values()):
            break
    return found


def open_prune(environment: Environment) -> PruneRequest | None:
    """The open prune request of the environment."""
    return PruneRequest.objects.filter(environment=environment).exclude(state__in=PruneRequest.OVER).first()


def collect(environment: Environment, *, reason: str, by: Person) -> PruneRequest:
    """Collect the backups that can be deleted now and ask another person to approve.

    Raises PruneRefused and ApprovalRefused.
    """
    insist_explained(reason, PruneRefused, _("Give the reason for deleting these backups. The reviewer reads it."))
    with log.transaction():
        PRUNES.insist_operator(by)
        emergency.lock(environment)
        if open_prune(environment):
            raise PruneRefused(_("A prune request of this environment is already open."))
        found = due(environment)[:CAP]
        if not found:
            raise PruneRefused(_("No backup can be deleted now."))
        prune, erased = _collect(environment, found, reason.strip(), by), [kept.generation for kept in found]
        PRUNES.submit(
            prune,
            State.COLLECTED,
            title=prune_evidence.title(prune.environment, prune.generations),
            evidence=prune_evidence.build(prune),
            by=by,
            details={
                "generations": [one.pk for one in erased],
                **procedures.begun_over("prune", [(one.namespace.binding, one.prefixes) for one in erased]),
            },
        )
        prune.refresh_from_db()
    return prune


def _collect(environment: Environment, found: Sequence[Kept], reason: str, by: Person) -> PruneRequest:
    keys = [list(kept.generation.every_object()) for kept in found]
    prune = PruneRequest.objects.create(
        environment=environment,
        reason=reason,
        generations=len(found),
        objects_total=sum(map(len, keys)),
        objects_sha256=digests.objects_sha256(key for names in keys for key in names),
        requested_by=by,
    )
    PruneEntry.objects.bulk_create(
        PruneEntry(
            prune=prune,
            index=index,
            generation=kept.generation,
            due_at=_date(kept),
            newer=list(kept.verdict.newer),
            objects_total=len(names),
            objects_sha256=digests.objects_sha256(names),
        )
        for index, (kept, names) in enumerate(zip(found, keys, strict=True))
    )
    return prune


def _date(kept: Kept) -> datetime:
    if kept.verdict.due_at is None:
        raise PruneRefused(_("No backup can be deleted now."))
    return kept.verdict.due_at


def start(prune: PruneRequest, *, by: Person) -> Run:
    """Approved -> deleting: claim the approval and create the run in one transaction.

    Raises PruneRefused and ApprovalRefused. If a backup differs from the approved evidence, or may not be deleted any
    more, nothing is started and the request is withdrawn.
    """
    return PRUNES.start(
        prune,
        by=by,
        derive=_digest,
        stale=lambda _prune: (
            _("The keys to delete differ from the approved ones."),
            _("The backups to delete differ from the approved ones. Collect the backups again."),
        ),
        total=lambda mine: mine.objects_total,
    )


def _digest(prune: PruneRequest) -> str:
    """The digest of the evidence; empty if a backup may not be deleted any more."""
    if not _all_due(prune):
        return ""
    return evidence.digest_of(evidence.canonical_evidence(prune_evidence.build(prune)))


def _all_due(prune: PruneRequest) -> bool:
    """Whether every backup still exists, can still be deleted, and has the objects of the evidence."""
    entries = list(prune.entries.order_by("index"))
    found = Generation.objects.there().filter(prunes__in=entries).select_related("environment", "namespace")
    verdicts = {kept.generation.pk: kept for kept in Retention().of(found)}
    return all(
        (kept := verdicts.get(entry.generation_id)) is not None
        and kept.verdict.state == Keeping.DUE
        and digests.objects_sha256(kept.generation.every_object()) == entry.objects_sha256
        for entry in entries
    )


def end_early(prune: PruneRequest, *, by: Person) -> None:
    """Begin with no further backup of a stopped or failed request. Raises PruneRefused and run_driver.NotResumable.

    A backup whose deletion began is deleted to its end, because it is unusable already.
    """
    PRUNES.end_early(prune, lambda _prune, run: {**run.cursor, "ending": True}, by=by)
