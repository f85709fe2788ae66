"""The steps before a stage is submitted: its names fixed, a backup made, verified and checked against D1.

The steps are runs. Each one's finished hook moves the stage and starts the next, so an operator clicks once. A failed
step leaves the stage where it was and can be tried again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import batched

from django.db import connection
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _, gettext_noop, ngettext_lazy

from audit import log
from audit.actions import Action
from backups import archive
from backups.cleanup import sharing, shown_references
from backups.cleanup.stages import (
    By,
    CleanupRefused,
    backup_is_fresh,
    doer,
    generation_of,
    insist_idle,
    insist_operator,
    insist_turn,
    insist_writable,
    locked,
    move,
    note_blocked,
    run_of,
    send_back,
)
from backups.generations import start as generation_start
from backups.generations.start import NotVerifiable
from backups.integrity import start as check_start
from backups.integrity.newer import rows as newer_rows
from backups.integrity.start import CheckRefused
from backups.models import Check, CleanupEntry, CleanupStage, Generation
from kvops import clock
from kvops.inventory import browse
from kvops.models import Key, Namespace, Person, Run, Scan
from kvops.runs import driver as run_driver
from kvops.wording import columns, say

State = CleanupStage.State
AT_ONCE = 5_000
"""Keys in one INSERT."""


@dataclass(frozen=True, slots=True)
class Differing:
    """The keys of a stage that differ from D1 and would be left out, or the reason why none can be."""

    keys: Sequence[str]
    why_not: str


def differing(stage: CleanupStage, check: Check) -> Differing:
    """The keys that differ by a failed check. Those of rows that are newer in D1 only if nothing else differs.

    A difference of no key in the list, such as a row that only D1 has, has nothing to be left out: it stops the whole.
    """
    other = check.found.filter(newer_at=None)
    found = other if other.exists() else check.found.all()
    names = set(found.values_list("name", flat=True))
    keys = sorted(stage.entries.filter(name__in=names).values_list("name", flat=True), key=str.encode)
    kept, keyless = check.found.count(), other.exclude(name__in=keys).count()
    why_not = ""
    if kept < check.differences:
        sentence = _(
            "Differences that are known by name: %(kept)s of %(all)s. Correct the cause of most of them first."
        )
        why_not = say(sentence, kept=f"{kept:,}", all=f"{check.differences:,}")
    elif keyless:
        told = ngettext_lazy(
            "%(n)s difference is of a row that no key of the list holds, and it is not newer in D1. It stops the whole "
            "clean-up, because no key can be left out for it: correct D1, or let the dataset allow rows without a key.",
            "%(n)s differences are of rows that no key of the list holds, and they are not newer in D1. They stop the "
            "whole clean-up, because no key can be left out for them: correct D1, or let the dataset allow rows "
            "without a key.",
            keyless,
        )
        why_not = say(told, n=f"{keyless:,}")
    elif not keys:
        why_not = say(_("The rows that are newer in D1 have no key that could be left out."))
    elif len(keys) == stage.names:
        why_not = say(_("Every key differs from D1, so no key would be left to delete."))
    return Differing(keys, why_not)


def freeze_stage(stage: CleanupStage, *, by: By, leave_out: bool = False) -> int:
    """Take the names of the stage from the newest complete scan and return their number.

    It may be repeated until the submit. With `leave_out`, the keys that differ from D1 stay, and those that were left
    out before.
    """
    with log.transaction():
        insist_operator(by)
        insist_writable()
        mine = locked(stage)
        insist_turn(mine)
        insist_idle(mine)
        # The merge of a scan takes the same lock, so all names are from one scan.
        Namespace.objects.select_for_update(no_key=True).get(pk=mine.namespace_id)
        scan = _fresh_scan(mine)
        left_out = _to_leave_out(mine) if leave_out else []
        if mine.state in {State.BACKED_UP, State.VERIFIED, State.CHECKED}:
            send_back(mine, actor=doer(by)[0], because=gettext_noop("The list of keys is fixed again."))
        elif mine.state not in {State.WAITING, State.FROZEN}:
            sentence = _("The list of keys cannot be fixed while the stage is: %(state)s.")
            raise CleanupRefused(say(sentence, state=State(mine.state).label))
        CleanupEntry.objects.filter(stage=stage).delete()
        names = _add_names(stage, left_out)
        if left_out and not names:
            raise CleanupRefused(_("Every key differs from D1, so no key would be left to delete."))
        left_out = _still_there(mine, left_out)
        digest = archive.names_sha256(
            CleanupEntry.objects.filter(stage=stage).order_by("index").values_list("name", flat=True).iterator(10_000)
        )
        move(
            mine,
            [State.WAITING, State.FROZEN],
            State.FROZEN,
            Action.STAGE_FROZEN,
            actor=doer(by)[0],
            digest=digest,
            values={
                "scan": scan,
                "frozen_at": Now(),
                "names": names,
                "names_sha256": digest,
                "left_out": left_out,
                "generation": None,
                "check_passed": None,
                "approval": None,
                "scope_digest": "",
                **columns("returned_because", ""),
            },
            details={"names": names, "scan": scan.pk, **({"left_out": len(left_out)} if left_out else {})},
        )
    stage.refresh_from_db()
    return names


def _to_leave_out(stage: CleanupStage) -> list[str]:
    """The keys that differ, with those that were left out before. Raises CleanupRefused if none can be left out."""
    check = Check.objects.filter(generation=stage.generation_id, generation__isnull=False).order_by("pk").last()
    if check is None or check.outcome != Check.Outcome.FAILED:
        raise CleanupRefused(_("The newest check of the backup found no differences, so no key is left out."))
    found = differing(stage, check)
    if found.why_not:
        raise CleanupRefused(found.why_not)
    return [*stage.left_out, *found.keys]


def _still_there(stage: CleanupStage, names: Sequence[str]) -> list[str]:
    """Those of these names that the scan found, in byte order: a key that is gone was not left."""
    there = Key.objects.filter(namespace=stage.namespace_id, family=stage.request.family_id, name__in=names)
    return sorted(there.values_list("name", flat=True), key=str.encode)


def _add_names(stage: CleanupStage, left_out: Sequence[str] = ()) -> int:
    """Add the family's keys under the prefix, in byte order; keys of nested families are left out."""
    if stage.request.only:
        return _add_chosen(stage)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO backups_cleanupentry (stage_id, index, name, expiration)"
            " SELECT %s, row_number() OVER (ORDER BY name) - 1, name, expiration FROM kvops_key"
            " WHERE namespace_id = %s AND family_id = %s AND starts_with(name, %s) AND (NOT %s OR name = %s)"
            " AND name <> ALL(%s::text[]) ORDER BY name",
            [
                *(stage.pk, stage.namespace_id, stage.request.family_id),
                *(stage.request.prefix, stage.request.exact, stage.request.prefix, list(left_out)),
            ],
        )
        return int(cursor.rowcount)


def _add_chosen(stage: CleanupStage) -> int:
    """The same, with only the keys that the request chooses by their expiration or metadata."""
    request, now = stage.request, clock.now().timestamp()
    keys = browse.chosen(stage.namespace, request.family, request.prefix, request.selection, now)
    added = 0
    for some in batched(enumerate(keys), AT_ONCE):
        CleanupEntry.objects.bulk_create(
            CleanupEntry(stage=stage, index=index, name=name, expiration=expiration)
            for index, (name, expiration) in some
        )
        added += len(some)
    return added


def prepare_stage(stage: CleanupStage, *, by: By, foreground: bool = False) -> Run:
    """Start the next step before a submit: backup, verification, check; without names, the two listings.

    It continues from the stage's state, so it also serves as a retry; a failed or stopped run is resumed. Raises
    CleanupRefused, BackupRefused, CheckRefused, run_driver.AlreadyOpen and run_driver.NotResumable.
    """
    insist_operator(by)
    actor, person = doer(by)
    stage.refresh_from_db()
    last = run_of(stage)
    if last is not None and last.state in Run.RESUMABLE and stage.state not in {State.DELETING, State.DELETED}:
        run_driver.resume(last, actor=actor)
        return last
    with log.transaction():
        mine = locked(stage)
        insist_idle(mine)
        if mine.state == State.FROZEN and mine.names == 0:
            run = _prove_empty(mine, actor=actor, person=person, foreground=foreground)
        elif mine.state == State.FROZEN:
            generation = generation_start.create_backup(
                mine.namespace,
                prefixes=[mine.request.prefix],
                actor=actor,
                person=person,
                purpose=Generation.Purpose.CLEANUP,
                stage=mine,
                foreground=foreground,
            )
            CleanupStage.objects.filter(pk=mine.pk).update(generation=generation, **columns("returned_because", ""))
            shown_references.look_if_not_known(mine.environment, actor=actor, person=person)
            run = generation.run
        elif mine.state == State.BACKED_UP:
            run = generation_start.create_verification(
                generation_of(mine), actor=actor, person=person, foreground=foreground
            )
        elif mine.state == State.VERIFIED and mine.request.needs_check:
            run = check_start.create_check(generation_of(mine), actor=actor, person=person, foreground=foreground).run
        elif mine.state in {State.VERIFIED, State.CHECKED} and not backup_is_fresh(mine):
            run = generation_start.create_verification(
                generation_of(mine), actor=actor, person=person, foreground=foreground
            )
        else:
            sentence = _("There is nothing to prepare while the stage is: %(state)s.")
            raise CleanupRefused(say(sentence, state=State(mine.state).label))
    return run


def _prove_empty(stage: CleanupStage, *, actor: log.Actor, person: Person | None, foreground: bool) -> Run:
    run = run_driver.create(
        Run.Kind.CONFIRM,
        subject=f"stage:{stage.pk}",
        label=str(stage),
        actor=actor,
        person=person,
        environment=stage.environment,
        foreground=foreground,
    )
    CleanupStage.objects.filter(pk=stage.pk).update(confirm_run=run, first_listing_at=None, second_listing_at=None)
    return run


def backup_finished(run: Run) -> None:
    """Hook: the complete backup of a stage moves it from frozen to backed_up; its verification starts at once."""
    generation = Generation.objects.select_related("environment", "namespace__environment").get(run=run)
    sharing.post(generation)
    stage = CleanupStage.objects.filter(generation=generation, state=State.FROZEN).first()
    if stage is None:
        return
    actor = log.Actor(run.started_by_id, run.actor)
    if generation.status != Generation.Status.COMPLETE:
        note_blocked(
            stage,
            gettext_noop("The backup is partial; its page says why. Scan again, then fix the list of keys again."),
        )
        return
    move(stage, [State.FROZEN], State.BACKED_UP, Action.STAGE_BACKED_UP, actor=actor, digest=generation.manifest_sha256)
    try:
        generation_start.create_verification(generation, actor=actor, person=run.started_by, foreground=run.foreground)
    except (NotVerifiable, run_driver.AlreadyOpen) as refused:
        note_blocked(stage, refused)


def verify_finished(run: Run) -> None:
    """Hook: backed_up -> verified if the verification found no difference; the check starts then."""
    before = [State.BACKED_UP, State.VERIFIED, State.CHECKED]
    stage = CleanupStage.objects.filter(generation__verify_run=run, state__in=before).first()
    if stage is None:
        return
    generation = generation_of(stage)
    actor = log.Actor(run.started_by_id, run.actor)
    if generation.status != Generation.Status.VERIFIED:
        send_back(stage, actor=actor, because=say(_("The backup is damaged: %(problem)s"), problem=generation.why))
        return
    if stage.state != State.BACKED_UP:
        return
    move(
        stage, [State.BACKED_UP], State.VERIFIED, Action.STAGE_VERIFIED, actor=actor, digest=generation.manifest_sha256
    )
    if stage.request.needs_check:
        try:
            check_start.create_check(generation, actor=actor, person=run.started_by, foreground=run.foreground)
        except (CheckRefused, run_driver.AlreadyOpen) as refused:
            note_blocked(stage, refused)


def check_finished(run: Run) -> None:
    """Hook: verified -> checked if the check found no difference, or only rows that are newer in D1.

    The latter need the stated cause and a new export; a reviewer accepts them by name. Any other difference stops it.
    """
    check = Check.objects.get(run=run)
    # A cache needs no check, so another check of its backup does not move its stage.
    stages = CleanupStage.objects.filter(state=State.VERIFIED, request__category="legacy")
    stage = stages.filter(generation=check.generation_id, generation__isnull=False).first()
    if stage is None:
        return
    actor = log.Actor(run.started_by_id, run.actor)
    if check.outcome != Check.Outcome.PASSED:
        acceptable = newer_rows.only_newer(check)
        if why := newer_rows.why_not(check) if acceptable else _differences(check):
            note_blocked(stage, why)
            return
    move(
        stage,
        [State.VERIFIED],
        State.CHECKED,
        Action.STAGE_CHECKED,
        actor=actor,
        digest=check.definition_digest,
        values={"check_passed": check, **columns("returned_because", "")},
    )


def _differences(check: Check) -> str:
    sentence = _(
        "The check found differences with D1: %(count)s. Correct D1 and check again; or leave the differing keys "
        "out: the others are backed up, verified and checked anew."
    )
    return say(sentence, count=check.differences)


def _fresh_scan(stage: CleanupStage) -> Scan:
    """The newest complete scan that covers the prefix. Names older than a day are refused."""
    scan = scan_of(stage)
    if scan is None or not browse.is_fresh(scan):
        sentence = _("%(namespace)s was not scanned within a day. Scan it first.")
        raise CleanupRefused(say(sentence, namespace=stage.namespace))
    return scan


def scan_of(stage: CleanupStage) -> Scan | None:
    """The newest complete scan that listed all keys under the prefix."""
    return browse.covering_scan(stage.namespace, stage.request.prefix)
