"""The moves of a stage, and the conditions of every move."""

import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, Coalesce, Concat, JSONArray, Now
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups import archive, policy
from backups.cleanup import qa
from backups.datasets import registry as dataset_registry
from backups.execution.lifecycle import Lifecycle
from backups.integrity.newer import rows as newer_rows
from backups.models import Check, CleanupEntry, CleanupStage, Generation, Restore
from backups.models.generations import GenerationQuerySet
from kvops import clock, timing
from kvops.approvals import gate as approval_gate
from kvops.environments import hours
from kvops.models import ApprovalRequest, Namespace, Person, PolicyVersion, Run
from kvops.names import visible
from kvops.refusals import Refused
from kvops.wording import Words, columns, moment, say, spelled

State = CleanupStage.State
NAMED = 100
"""Keys that are left out. A sentence names at most this many; the page of the stage lists all of them."""
BULK = _("A bulk change of the same family is under way: %(page)s")


class CleanupRefused(Refused):
    """The step is not possible now; the message is one sentence with the reason and the next step."""


def send_back(stage: CleanupStage, actor: log.Actor, because: Words) -> None:
    """Move the stage back to frozen, with the reason on its page."""
    returned = columns("returned_because", because)
    back = [State.BACKED_UP, State.VERIFIED, State.CHECKED, State.SUBMITTED, State.APPROVED]
    STAGES.move(
        stage,
        back,
        State.FROZEN,
        Action.STAGE_RETURNED,
        actor=actor,
        values={**returned, "approval": None},
        details={"because": returned["returned_because"]},
    )


STAGES = Lifecycle(
    model=CleanupStage,
    name="stage",
    related=("request__family", "environment", "namespace"),
    kind=ApprovalRequest.Kind.DELETE_KEYS,
    run_kind=Run.Kind.DELETE,
    running=State.DELETING,
    submitted=Action.STAGE_SUBMITTED,
    approved=Action.STAGE_APPROVED,
    started=Action.STAGE_DELETING,
    digest_of=lambda _stage, given: given,
    send_back=send_back,
    refused=CleanupRefused,
    not_approved=_("The stage is not approved: %(state)s."),
    moved=lambda _stage: _("The stage has moved on since this page was loaded. Load the page again."),
    not_stopped=_("Only a deletion that was stopped or failed can be ended early. Stop it first."),
    resumed=_("The deletion has already resumed. Load the page again."),
)
move, insist_operator = STAGES.move, STAGES.insist_operator


def locked(stage: CleanupStage) -> CleanupStage:
    """The current row, locked, for a person's step. Raises CleanupRefused for a stage of a scheduled clearing."""
    mine = STAGES.locked(stage)
    if mine.scheduled or mine.request.clearing_id is not None:
        raise CleanupRefused(
            _("This is a round of a scheduled clearing: it follows its rule. Look at the page of the rule.")
        )
    return mine


def note_blocked(stage: CleanupStage, because: Words) -> None:
    """Show the reason why the stage did not move on, on its page."""
    CleanupStage.objects.filter(pk=stage.pk).update(**columns("returned_because", because))


def generation_of(stage: CleanupStage) -> Generation:
    """The stage's backup, fresh from the database."""
    return Generation.objects.get(stages=stage)


def backups_of(stages: Collection[int]) -> GenerationQuerySet:
    """The backups taken for these stages, with those of a list of keys that was fixed again since."""
    of_one = CleanupStage.objects.filter(pk__in=stages, namespace=OuterRef("namespace")).alias(
        taken=JSONArray("request__prefix"), over=Coalesce("request__ended_at", "request__completed_at")
    )
    in_time = Q(over=None) | Q(over__gte=OuterRef("started_at"))
    of_one = of_one.filter(in_time, taken=OuterRef("prefixes"), request__created_at__lte=OuterRef("started_at"))
    return Generation.objects.filter(Exists(of_one), purpose=Generation.Purpose.CLEANUP)


def backup_is_fresh(stage: CleanupStage) -> bool:
    """Whether the stage's backup was verified recently enough, in the current bucket."""
    fresh = Now() - timedelta(seconds=timing.VERIFIED_FRESH)
    return Generation.objects.verified().here().filter(stages=stage, verified_at__gte=fresh).exists()


def run_of(stage: CleanupStage) -> Run | None:
    """The run of the stage's current step, or of its last one; None if no run was started."""
    generation = stage.generation
    if stage.state == State.FROZEN and stage.names == 0:
        return stage.confirm_run
    if stage.state == State.FROZEN:
        return generation.run if generation else None
    if stage.state == State.VERIFIED and stage.request.needs_check and generation:
        check = Check.objects.filter(generation=generation).select_related("run").order_by("-pk").first()
        again = generation.verify_run if generation.verify_run and generation.verify_run.is_open else None
        return again or (check.run if check else None)
    if stage.state in {State.BACKED_UP, State.VERIFIED, State.CHECKED}:
        return generation.verify_run if generation else None
    return {State.DELETING: stage.run, State.DELETED: stage.confirm_run}.get(State(stage.state))


type By = Person | log.Actor
"""A person; or a command, which can prepare a stage but neither submit nor start it."""


def doer(by: By) -> tuple[log.Actor, Person | None]:
    """The actor for the audit log, and the person if it is one."""
    return (by.actor, by) if isinstance(by, Person) else (by, None)


def insist_writable() -> None:
    """Raise CleanupRefused in read-only operation."""
    try:
        approval_gate.insist_writable()
    except approval_gate.ApprovalRefused as refused:
        raise CleanupRefused(*refused.args) from refused


def policy_changed(approval: ApprovalRequest) -> str:
    """A sentence if the policy changed after the approval, else empty. Raises PolicyEdited."""
    approved, now = json.loads(approval.evidence)["policy"], policy.shown()
    if approved == now:
        return ""
    sentence = _("The policy changed from version %(old)s to version %(new)s after the approval.")
    return say(sentence, old=approved["version"], new=now["version"])


def insist_turn(stage: CleanupStage) -> None:
    """Raise CleanupRefused unless the request is open and every earlier environment has valid evidence.

    Also if a family or dataset in the database differs from the policy.
    """
    if not stage.request.is_open:
        raise CleanupRefused(_("The clean-up is over."))
    try:
        policy.shown()
    except PolicyVersion.DoesNotExist as none:
        raise CleanupRefused(_("There is no policy in force, so nothing may be deleted. Apply one first.")) from none
    except policy.PolicyEdited as refused:
        raise CleanupRefused(*refused.args) from refused
    missing = qa.missing_qa(stage)
    if missing:
        raise CleanupRefused(missing)


def insist_check(stage: CleanupStage) -> None:
    """Raise CleanupRefused unless the check used the dataset's rules in force, and passed or may be accepted."""
    dataset = dataset_registry.dataset_for(stage.request.binding, stage.request.prefix)
    check = stage.check_passed
    if check is None or dataset is None or check.definition_digest != dataset_registry.definition_digest(dataset):
        raise CleanupRefused(_("The dataset's rules changed after the check. Fix the list of keys and prepare again."))
    if check.outcome != Check.Outcome.PASSED and not (newer_rows.only_newer(check) and newer_rows.grounds_of(check)):
        raise CleanupRefused(_("The check found differences that nobody may accept. Check again."))


def why_not_now(stage: CleanupStage) -> str | Promise:
    """The reason why the deletion cannot start at this time; empty if it can."""
    request, environment, now = stage.request, stage.environment, clock.now()
    if request.frozen_until and request.frozen_until <= now:
        return say(
            _(
                "The writers were frozen until %(time)s, so keys may have changed since. Withdraw the request, record "
                "a new time on the clean-up, and submit the stage again."
            ),
            time=moment(request.frozen_until),
        )
    if opens := hours.next_opening(environment, now):
        return say(
            _("In %(name)s a deletion starts only within the allowed hours (%(hours)s). The next time is %(time)s."),
            name=environment.name,
            hours=f"{environment.hours} {environment.days}".strip(),
            time=moment(opens),
        )
    return ""


def insist_no_round(stage: CleanupStage) -> None:
    """Raise CleanupRefused while a scheduled clearing or a bulk change works on keys of the same family.

    A clearing does until its proof. A key that a stale read showed would be written again after its deletion.
    """
    # The deletion of a round begins under the same lock.
    Namespace.objects.select_for_update(no_key=True).get(pk=stage.namespace_id)
    of_family = CleanupStage.objects.filter(namespace=stage.namespace, request__family=stage.request.family)
    found = of_family.filter(scheduled=True, state__in=[State.DELETING, State.DELETED]).first()
    if found is not None:
        sentence = _("A scheduled clearing of the same family is under way: %(page)s")
        raise CleanupRefused(say(sentence, page=reverse("backups:stage", args=[found.pk])))
    bulk = Restore.objects.bulk_writing(stage.namespace, stage.request.family).first()
    if bulk is not None:
        raise CleanupRefused(say(BULK, page=reverse("backups:bulk_change", args=[bulk.pk])))


def busy_run(stage: CleanupStage) -> Run | None:
    """The run that works for the stage now, other than the check after its deletion: an undo must not wait for it."""
    return _works_for(stage.pk, Value(f"stage:{stage.pk}")).first()


def busy_runs() -> QuerySet[Run]:
    """The same runs, for a query of stages that asks in the same statement whether there is one."""
    subject = Concat(Value("stage:"), Cast(OuterRef("pk"), TextField()), output_field=TextField())
    return _works_for(OuterRef("pk"), subject)


def _works_for(stage: int | OuterRef, subject: Value | Concat) -> QuerySet[Run]:
    of_stage = Q(generation__stages=stage) | Q(verified_generations__stages=stage) | Q(checks__generation__stages=stage)
    found = Run.objects.open().filter(of_stage | Q(subject=subject))
    return found.exclude(subject=Concat(subject, Value("/check"), output_field=TextField()))


def insist_idle(stage: CleanupStage) -> None:
    """Raise CleanupRefused while a run works for the stage."""
    busy = busy_run(stage)
    if busy is not None:
        sentence = _("Wait for run %(pk)s (%(kind)s), or stop it first.")
        raise CleanupRefused(say(sentence, pk=busy.pk, kind=Run.Kind(busy.kind).label))


def insist_names(stage: CleanupStage) -> None:
    """Raise CleanupRefused unless the frozen names match their digest."""
    with suppress(archive.ManifestError):
        if archive.names_sha256(_numbered(stage)) == stage.names_sha256:
            return
    raise CleanupRefused(_("The list of keys changed after it was fixed. Have the database checked."))


def left_out_in_words(stage: CleanupStage) -> str:
    """The keys that differ from D1 and stay, the first of them by name; empty if there are none."""
    if not stage.left_out:
        return ""
    names = ", ".join(map(visible, stage.left_out[:NAMED]))
    if len(stage.left_out) > NAMED:
        names = f"{names}, …"
    told = _("Left out, because they differ from D1 (%(n)s): %(names)s")
    return say(told, n=spelled(len(stage.left_out)), names=names)


def _numbered(stage: CleanupStage) -> Iterator[str]:
    """The names in their order. Raises ManifestError unless they are numbered from 0 to the last without a gap."""
    expected = 0
    rows = CleanupEntry.objects.filter(stage=stage).order_by("index").values_list("index", "name")
    for index, name in rows.iterator():
        if index != expected:
            raise archive.ManifestError
        expected += 1
        yield name
    if expected != stage.names:
        raise archive.ManifestError
