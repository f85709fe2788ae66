"""Proof of absence: no name that was sent is listed, in two listings a settle time apart.

The first listing of a deletion, which settles its chunks (`settle`), counts if it was clean. The last listing also
counts the keys under the prefix that are not of the clean-up. The proven names leave the inventory with the proof.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import batched
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext_lazy as _, gettext_noop, ngettext_lazy

from audit.actions import Action
from backups.cleanup import after_check
from backups.cleanup.completion import leftovers
from backups.cleanup.stages import move
from backups.deletion.listing import deleted_and_not, keep_others, list_again, others_among, sent_among
from backups.execution.live_digests import Frozen, KeyVerdict, compare_now, frozen
from backups.execution.revalidation import TRIES, patience
from backups.models import CleanupException, CleanupStage
from kvops import clock, timing
from kvops.cloudflare import Cloudflare, CursorRefused, KeyPage
from kvops.connections import clients
from kvops.inventory import families as key_families, own_changes
from kvops.models import NotificationEvent, Read, Run
from kvops.notifications import outbox
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError
from kvops.wording import counted, say

State = CleanupStage.State
Outcome = CleanupException.Outcome
_LISTED_NOW = (
    gettext_noop("%(n)s key of the family is listed now. Scan again and fix the list of keys."),
    gettext_noop("%(n)s keys of the family are listed now. Scan again and fix the list of keys."),
)
AT_A_TIME, EXACTLY = 50, 10
"""Keys per read: any key may take four requests, an exact read two.

A part of the request limit must suffice for all.
"""


def confirm_absence(lease: Lease) -> Again | Done | None:
    """The proof: the second listing for a deleted stage, two listings for a stage without names."""
    stage = CleanupStage.objects.select_related("environment", "namespace", "request__family", "generation").get(
        confirm_run=lease.run
    )
    if stage.first_listing_at is not None:
        wait = timing.SETTLE - (clock.now() - stage.first_listing_at).total_seconds()
        if wait > 0:
            return Again(wait, gettext_noop("Waiting for the settle time before the second listing."))
    cursor = dict(lease.run.cursor)
    if not cursor.get("listing_since"):
        cursor.update(listing_since=clock.now().isoformat(), page=None, found=0)
    with clients.reader(stage.environment) as reader:
        while True:
            try:
                page = reader.list_keys(
                    stage.namespace.namespace_id, prefix=stage.request.prefix, cursor=cursor["page"]
                )
            except CursorRefused:
                return list_again(lease, {"rounds": cursor.get("rounds", 0)})
            found = _found(stage, page)
            last_round = stage.names > 0 and cursor.get("rounds", 0) >= TRIES - 1
            if last_round and not read_again(stage, found, reader, lease, cursor, keep=partial(_left, stage)):
                return Again()
            others, before, first_page = others_among(stage, page), cursor.get("others", 0), cursor["page"] is None
            cursor.update(page=page.cursor, found=cursor["found"] + len(found), others=before + len(others), after=-1)
            with lease.checkpoint(
                cursor=cursor,
                note=gettext_noop("Second listing.") if stage.first_listing_at else gettext_noop("First listing."),
            ):
                keep_others(stage, others, before=before, first_page=first_page)
            if page.cursor is None:
                return _listed(stage, lease, cursor)
            if lease.tired:
                return Again()


def _found(stage: CleanupStage, page: KeyPage) -> list[int]:
    """Indexes of names that must not be listed: sent names, or, for a stage without names, any name of its scope."""
    if stage.names:
        return sent_among(stage, page)
    request, families = stage.request, key_families.Families.of(stage.request.binding)
    only, now = request.selection, clock.now().timestamp()
    return [
        position
        for position, key in enumerate(page.keys)
        if families.family(key.name) == request.family
        and (not request.exact or key.name == request.prefix)
        and only.takes(key.expiration, key.metadata, now)
    ]


def read_again(
    stage: CleanupStage,
    indexes: Sequence[int],
    reader: Cloudflare,
    lease: Lease,
    cursor: Mapping[str, Any],
    *,
    keep: Callable[[Mapping[Frozen, KeyVerdict]], None],
) -> bool:
    """Compare listed names that should be absent with the backup; False if the step is over before the last one.

    `keep` records the results in one transaction with the position in the page, so a later step continues there.
    """
    read = stage.generation.read if stage.generation else ""
    left = [index for index in indexes if index > cursor.get("after", -1)]
    for some in batched(left, EXACTLY if read == Read.EXACT else AT_A_TIME):
        verdicts = compare_now(reader, stage.namespace.namespace_id, _all(stage, some), read)
        with lease.checkpoint(cursor={**cursor, "after": some[-1]}):
            keep(verdicts)
        if lease.tired:
            return some[-1] == left[-1]
    return True


def _all(stage: CleanupStage, indexes: Sequence[int]) -> list[Frozen]:
    """As `frozen`, with the names that expired during the backup: no backup has them, so any value differs."""
    in_backup = {entry.index: entry for entry in frozen(stage, indexes)}
    names = stage.entries.filter(index__in=indexes).order_by("index").values_list("index", "name")
    return [in_backup.get(index) or Frozen(index, name, b"", None) for index, name in names]


def _left(stage: CleanupStage, verdicts: Mapping[Frozen, KeyVerdict]) -> None:
    """Record the survivors: unchanged keys failed, changed keys reappeared. A key absent when read is gone."""
    outcomes = {KeyVerdict.EQUAL: Outcome.FAILED, KeyVerdict.DIFFERENT: Outcome.REAPPEARED}
    for entry, verdict in verdicts.items():
        if outcome := outcomes.get(verdict):
            CleanupException.objects.create(stage=stage, index=entry.index, name=entry.name, outcome=outcome)


def _listed(stage: CleanupStage, lease: Lease, cursor: Mapping[str, object]) -> Again | None:
    """After a whole listing: the second clean one is the proof, a dirty one starts the pair again."""
    rounds = int(str(cursor.get("rounds", 0)))
    clean = cursor["found"] == 0 or (stage.names > 0 and rounds >= TRIES - 1)
    if not clean and stage.names == 0:
        raise RunError("not_empty", counted(_LISTED_NOW[cursor["found"] != 1], int(str(cursor["found"]))))
    if not clean or stage.first_listing_at is None:
        since = cursor["listing_since"]
        with lease.checkpoint(
            Again(patience(rounds + (not clean) + 1), gettext_noop("Listing again after the settle time.")),
            cursor={"rounds": rounds + (not clean)},
        ):
            # The proof needs two clean listings in a row, so a dirty one starts the pair again.
            CleanupStage.objects.filter(pk=stage.pk).update(first_listing_at=since if clean else None)
        return None
    expected = [State.DELETED] if stage.names else [State.FROZEN]
    totals, others = deleted_and_not(stage), int(str(cursor.get("others", 0)))
    left = {"others": others, "remaining": others + leftovers(stage).count()}
    with lease.checkpoint(Done(totals), cursor={}):
        # A cache is written again by its application, so its keys are expected back.
        late = _late_check(stage, lease) if stage.names and not stage.scheduled else None
        again = after_check.start(stage, actor=lease.actor, person=lease.run.started_by)
        move(
            stage,
            expected,
            State.CONFIRMED,
            Action.STAGE_CONFIRMED,
            actor=lease.actor,
            digest=stage.names_sha256,
            values={**totals, **left, "second_listing_at": cursor["listing_since"], "late_run": late, **again},
            details={**totals, **left},
        )
        back = stage.exceptions.filter(outcome=Outcome.REAPPEARED).count()
        if back and not stage.scheduled:
            tell_reappeared(stage, back, shown="exceptions", occasion="while it was proven")
        gone = stage.entries.exclude(index__in=stage.exceptions.values("index"))
        own_changes.remove(stage.namespace, gone.values("name"))
    return None


def _late_check(stage: CleanupStage, lease: Lease) -> Run:
    """The run of the late checks. It has a subject of its own, so that no other run waits for it."""
    return run_driver.create(
        Run.Kind.LATE_CHECK,
        subject=f"stage:{stage.pk}/late",
        label=str(stage)[:300],
        actor=lease.actor,
        person=lease.run.started_by,
        environment=stage.environment,
    )


def tell_reappeared(stage: CleanupStage, number: int, *, shown: str, occasion: str) -> None:
    """Notify once per occasion of the reappeared keys, within the open transaction. `shown` is the list to open."""
    title = ngettext_lazy("%(stage)s: %(n)s deleted key reappeared", "%(stage)s: %(n)s deleted keys reappeared", number)
    outbox.post(
        NotificationEvent.KEY_REAPPEARED,
        subject=f"stage:{stage.pk}",
        title=say(title, stage=stage, n=f"{number:,}"),
        lines=[say(_("KVOps does not delete them again. Inspect the keys, and note your findings."))],
        link=f"{reverse('backups:stage', args=[stage.pk])}?show={shown}",
        environment=stage.environment,
        occasion=occasion,
    )
