"""Risks that evidence names: a reviewer accepts each by its name, or the request is not approved.

The gate, a trigger and the audit log insist on it.
"""

import json

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, ngettext

from kvops.models import ApprovalRequest
from kvops.wording import spelled

NEWER = "d1_newer"
"""The risk of rows that are newer in D1. Its sentence has their number."""
FEWER = "references_fewer"
"""The risk of a search with fewer files or places than another one. Its sentence has the number of that search."""

SENTENCES: dict[str, Promise] = {
    "lock_missing": _("I accept that R2 does not lock the backup: it could be deleted before it is needed."),
    "lock_disabled": _("I accept that the lock on the backup is disabled: it could be deleted before it is needed."),
    "lock_short": _("I accept that R2 locks the backup for less than 14 days."),
    "lock_narrow": _("I accept that R2 locks only a part of the backup: the rest could be deleted."),
    "lock_unknown": _("I accept that it is not known whether R2 locks the backup."),
    "references_other": _("I accept that the code that was searched is not the code that is deployed."),
    "references_not_known": _("I accept that it is not known whether the code that was searched is deployed."),
    FEWER: _(
        "I accept that the search of the code came as a file and has fewer files or places than an earlier search."
    ),
    "references_follow_up": _(
        "I accept that running code still reads these keys: it is changed only later, by an open follow-up."
    ),
    "qa_not_repeated": _("I accept that this change was not made and tried in QA first, for the reason given."),
    "bulk_qa_differs": _(
        "I accept that the bulk change in QA was of other keys: of another prefix, or chosen in another way."
    ),
    "legacy_found": _(
        "I accept that old keys become legacy master data: their data is in D1, no code writes them any more, and they "
        "may be deleted after the proof."
    ),
}
"""The sentence a reviewer agrees to, by the risk's code in the evidence."""


def risks_of(request: ApprovalRequest) -> list[str]:
    """The codes of the risks that the request's evidence names."""
    return [str(risk) for risk in json.loads(request.evidence).get("risks", [])]


def _larger(request: ApprovalRequest) -> str:
    """The numbers of the searches that had more; empty if the evidence names none."""
    found = json.loads(request.evidence).get("references") or {}
    searches = [one for one in (found.get("search"), *found.get("others", ())) if one]
    numbers = {one["fewer_than"]["id"] for one in searches if "fewer_than" in one}
    return ", ".join(map(str, sorted(numbers)))


def sentence(risk: str, request: ApprovalRequest) -> str:
    """The sentence a reviewer agrees to by accepting the risk of this request."""
    if risk == FEWER and (larger := _larger(request)):
        named = _(
            "I accept that the search of the code came as a file and has fewer files or places than search %(pk)s."
        )
        return str(named % {"pk": larger})
    if risk != NEWER:
        return str(SENTENCES.get(risk, risk))
    rows = int(json.loads(request.evidence)["check"]["newer"]["rows"])
    told = ngettext(
        "I accept that %(n)s row is newer in D1: it was changed there after the move, and KV holds an older copy.",
        "I accept that %(n)s rows are newer in D1: they were changed there after the move, and KV holds older copies.",
        rows,
    )
    return told % {"n": spelled(rows)}
