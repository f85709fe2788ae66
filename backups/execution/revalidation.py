"""Derives the approved evidence again: before work begins, after every resume or pause, and every quarter of an hour.

The policy, the rules and the evidence of earlier environments are checked before each chunk. If the digest differs,
the approval no longer fits and the run ends.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from backups import policy
from kvops import clock, timing
from kvops.models import ApprovalRequest, Run
from kvops.runs.lease import Lease
from kvops.runs.outcomes import RunError
from kvops.wording import say

BEFORE = {"derived_at", "looked", "read_back", "starts", "tries"}
"""The members of a cursor that are out of date after a person resumed the run."""

TRIES = 3


def approved(
    approval: ApprovalRequest | None, lease: Lease, subject: str, not_carried: str, *, started: bool = True
) -> dict[str, Any]:
    """The evidence of the approval. Raises RunError unless the run is about the subject and carries the approval.

    With `started`, the same person started the run and used the approval.
    """
    run = lease.run
    if approval is None or (run.approval_id, run.approval_digest) != (approval.pk, approval.digest):
        raise RunError("not_approved", not_carried)
    if run.subject != subject or (started and run.started_by_id != approval.starter_id):
        raise RunError("not_approved", gettext_noop("The run is not the one that was started with the approval."))
    found: dict[str, Any] = json.loads(approval.evidence)
    return found


def insist_target(now: Mapping[str, object], shown: Mapping[str, object]) -> None:
    """Raise RunError unless all that names the target is as in the evidence shown to the reviewer."""
    for name, value in now.items():
        if shown.get(name) != value:
            sentence = _("%(name)s is %(value)s now, not %(approved)s as approved.")
            raise RunError("wrong_target", say(sentence, name=name, value=value, approved=shown.get(name)))


def derived(lease: Lease, derive: Callable[[], None]) -> None:
    """Derive the evidence, unless that was done within a quarter of an hour and the run was not resumed since.

    `derive` raises RunError if the derived evidence differs from the approved one, and PolicyEdited becomes one.
    """
    cursor = lease.run.cursor
    at = cursor.get("derived_at")
    if at and (clock.now() - datetime.fromisoformat(at)).total_seconds() <= timing.CHECK_PAUSE:
        return
    try:
        derive()
    except policy.PolicyEdited as refused:
        raise RunError("policy_edited", refused) from refused
    with lease.checkpoint(no_further=True, cursor={**cursor, "derived_at": clock.now().isoformat()}):
        pass


def revalidate(run: Run, _actor: log.Actor) -> None:
    """Hook: a resumed run derives its evidence again."""
    forget(run)


def forget(run: Run) -> None:
    """Discard the times of the last derivation and check, and the attempts so far."""
    stopped = Run.objects.get(pk=run.pk)
    cursor = {name: value for name, value in stopped.cursor.items() if name not in BEFORE}
    Run.objects.filter(pk=run.pk, epoch=stopped.epoch, state=Run.State.QUEUED).update(cursor=cursor)


def patience(attempt: int | None, *, ending: bool = False) -> float:
    """Seconds to wait before reading a change back. Before the last attempt, wait for KV's full propagation time.

    A stale read then cannot pass for the result. `attempt` is None if nothing was sent. `ending` says that a person
    ended the run, so no further attempt follows.
    """
    last = ending or (attempt is not None and attempt >= TRIES)
    return max(timing.SETTLE, timing.STALE) if last else timing.SETTLE
