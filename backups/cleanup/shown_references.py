"""The code references in the evidence of a stage: the search, the deployed code, and every answer or their digest."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256

from django.utils.translation import gettext_lazy as _

from audit import log
from backups.cleanup.references import (
    BEFORE_SUBMIT,
    CERTAINTY,
    URGENCY,
    StageHit,
    dues_of,
    follow_ups_of,
    from_elsewhere,
    hits_of,
    unanswered,
    with_others,
)
from backups.models import CleanupStage
from kvops.approvals import evidence
from kvops.models import DeployedCode, Environment, Person, ReferenceSearch
from kvops.references import deployed, look, store
from kvops.refusals import Refused
from kvops.runs import driver as run_driver
from kvops.wording import say

SHOWN_ANSWERS, SHOWN_BYTES = 100, 16_384
"""The most answers in the evidence, and their most bytes, so that it stays within its 64 KiB. A digest has them all."""
SHOWN_TEXT = 300
"""Characters of a file's path or of a reason in the evidence."""
SHOWN_CODE = 20
SHOWN_FOLLOW_UPS = 2000
"""The most ids of follow-ups in the evidence: those of answers that it does not list."""


class DeployedNotKnown(Refused):
    """It is not known at present which code is deployed."""


def look_if_not_known(environment: Environment, *, actor: log.Actor, person: Person | None) -> None:
    """Have Cloudflare asked for the deployed code now, in the caller's transaction, if it is not known.

    So the page of the stage tells before the submit whether the searched code runs.
    """
    if deployed.not_known(environment):
        with suppress(run_driver.AlreadyOpen):
            look.create(environment, actor=actor, person=person)


def insist_answered(stage: CleanupStage, *, answered: bool) -> None:
    """Raise DeployedNotKnown if Cloudflare, asked just now, did not answer, and the deployed code is not known.

    Otherwise the answer to the next look would take back the approval.
    """
    if not answered and deployed.not_known(stage.environment):
        raise DeployedNotKnown(_("Cloudflare did not answer which code is deployed. Try again in a minute."))


def insist_known(stage: CleanupStage, approved: Mapping[str, object]) -> None:
    """Raise DeployedNotKnown if the deployed code is not known now, but was when the evidence was approved."""
    known = approved.get("deployed")
    accepted = not isinstance(known, Mapping) or known.get("state") == deployed.NOT_KNOWN
    if not accepted and (why := deployed.not_known(stage.environment)):
        raise DeployedNotKnown(why)


def risks(shown: Mapping[str, object]) -> list[str]:
    """The codes of the risks that the references part of the evidence names."""
    known = shown.get("deployed")
    state = known.get("state") if isinstance(known, Mapping) else deployed.NOT_KNOWN
    named = [f"references_{state}"] if state != deployed.SAME else []
    return named + [f"references_{name}" for name in ("fewer", "follow_up") if shown.get(name)]


def changed(stage: CleanupStage) -> str:
    """A sentence if the references part of the evidence is no longer the approved one, else empty."""
    approved = json.loads(stage.approval.evidence)["references"] if stage.approval else {}
    now = shown(stage)
    if now == approved:
        return ""
    if any(now.get(name) != approved.get(name) for name in ("search", "rests_on", "others")):
        return say(_("The code was searched again after the approval, or a search is too old now."))
    before = approved.get("deployed")
    if now.get("deployed") != before:
        if isinstance(before, Mapping) and before.get("state") == deployed.NOT_KNOWN:
            return say(_("The deployed code was not known at the approval, and it is known now."))
        return say(_("Other code was deployed after the approval."))
    return say(_("The answers to the code references differ from the approved ones."))


def shown(stage: CleanupStage) -> dict[str, object]:
    """The references part of the evidence, from the newest search; empty if there is none."""
    search = store.newest(stage.environment)
    if search is None:
        return {}
    searches = with_others(search)
    known = deployed.Deployed(stage.environment_id)
    found = hits_of(stage, searches, known)
    lines = [_shown(one) for one in found]
    answers = _as_fit(lines)
    return {
        "search": _search(search),
        # The submit stores the search with the stage; from then on the stored one counts.
        "rests_on": search.pk if stage.state in BEFORE_SUBMIT else stage.search_id,
        "others": [_search(other) for other in sorted(searches[1:], key=_largest_first)[:SHOWN_CODE]],
        "deployed": _deployed(stage, searches, known),
        "fewer": any(one.fewer_than_id for one in searches),
        "follow_up": any(one.reads_on for one in found),
        "follow_ups": _follow_ups(found, answers),
        "hits": len(found),
        "unanswered": unanswered(found),
        # The operator ticked them: without that nothing is submitted.
        **({"ticked": n} if (n := from_elsewhere(found)) else {}),
        "counts": [
            {"access": access, "certainty": certainty, "hits": hits}
            for (access, certainty), hits in sorted(
                Counter((one.hit.access, one.hit.certainty) for one in found).items(), key=_urgent_count
            )
        ],
        "answers": answers,
        "answers_sha256": _digest(lines),
    }


def _largest_first(search: ReferenceSearch) -> tuple[int, int]:
    return -search.hit_count, -search.files


def _search(search: ReferenceSearch) -> dict[str, object]:
    less = search.fewer_than
    return {
        "id": search.pk,
        "digest": search.digest,
        "source": search.source,
        "commit": search.commit,
        "worker": search.worker,
        "version": search.version,
        "etag": search.etag,
        "searched_at": evidence.moment(search.searched_at),
        "repository": search.repository,
        "place": search.place,
        "by": search.made_by,
        "files": search.files,
        "hits": search.hit_count,
        **({"fewer_than": {"id": less.pk, "files": less.files, "hits": less.hit_count}} if less else {}),
    }


def _urgent_count(count: tuple[tuple[str, str], int]) -> tuple[int, int]:
    (access, certainty), _hits = count
    return URGENCY.index(access), CERTAINTY.index(certainty)


def _shown(found: StageHit) -> dict[str, object]:
    hit, answer = found.hit, found.answer
    line: dict[str, object] = {
        "file": hit.file,
        "line": hit.line,
        "certainty": hit.certainty,
        "access": hit.access,
        "family": hit.family,
        "fingerprint": hit.fingerprint,
    }
    if answer is None:
        return line
    return {
        **line,
        "id": answer.pk,
        "kind": answer.kind,
        "reason": answer.reason,
        "follow_up": answer.follow_up,
        "owner": str(answer.owner or ""),
        "due": answer.due.isoformat() if answer.due else "",
        "by": str(answer.by),
        "at": evidence.moment(answer.at),
        "carried_over": found.carried_over,
    }


def _follow_ups(found: Sequence[StageHit], answers: Sequence[dict[str, object]]) -> dict[str, object]:
    """The open follow-ups, with the ids of those that the answers do not list, so that a certificate finds them."""
    more = sorted(dues_of(found).keys() - {one.get("id") for one in answers})
    return {**follow_ups_of(found), **({"more": more[:SHOWN_FOLLOW_UPS]} if more else {})}


def _as_fit(lines: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """The first lines, with long texts cut, as many as fit."""
    kept, size = [], 0
    for line in lines[:SHOWN_ANSWERS]:
        short = {name: value[:SHOWN_TEXT] if isinstance(value, str) else value for name, value in line.items()}
        size += len(evidence.canonical_evidence(short).encode())
        if size > SHOWN_BYTES:
            break
        kept.append(short)
    return kept


def _digest(lines: Iterable[dict[str, object]]) -> str:
    found = sha256()
    for line in lines:
        found.update(evidence.canonical_evidence(line).encode() + b"\n")
    return found.hexdigest()


def _deployed(stage: CleanupStage, searches: Sequence[ReferenceSearch], known: deployed.Deployed) -> dict[str, object]:
    """Whether the searched code is the deployed code, and which code is deployed."""
    lines = [_code(code) for code in deployed.using(stage.namespace, known)]
    state = deployed.state(searches[0], stage.namespace, *searches[1:], known=known).kind
    return {"state": state, "count": len(lines), "code": lines[:SHOWN_CODE], "sha256": _digest(lines)}


def _code(code: DeployedCode) -> dict[str, object]:
    return {
        "kind": code.kind,
        "name": code.name,
        "version": code.version,
        "commit": code.commit,
        "dirty": code.dirty,
    }
