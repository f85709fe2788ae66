"""Evidence as canonical text, its digest, and the follow-ups of code that it names.

Operator, reviewer and certificate read the same words.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import Any

from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _, ngettext


def canonical_evidence(evidence: Mapping[str, object]) -> str:
    """The one text of the evidence that is shown, stored and digested: sorted keys, no spaces, UTF-8."""
    return json.dumps(evidence, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(text: str) -> str:
    """SHA-256 of canonical evidence, in hex."""
    return sha256(text.encode()).hexdigest()


def moment(at: datetime | None) -> str:
    """A moment in evidence: in UTC, empty for none."""
    return at.astimezone(UTC).isoformat() if at else ""


def follow_ups(dues: Sequence[date]) -> dict[str, Any]:
    """The open follow-ups with these due days, as evidence has them."""
    return {"open": len(dues), "due": max(dues).isoformat() if dues else ""}


def follow_ups_open(references: Mapping[str, Any]) -> str:
    """The number of open follow-ups with the last due day, from the references part of evidence; empty without one.

    Evidence of an earlier version has only answers.
    """
    answers = [one for one in references.get("answers") or [] if one.get("kind") == "follow_up"]
    found = references.get("follow_ups") or follow_ups([date.fromisoformat(one["due"]) for one in answers])
    if not found["open"]:
        return ""
    day = date_format(date.fromisoformat(found["due"]), _("j M"))
    many = ngettext(
        "%(n)s code follow-up open until %(day)s", "%(n)s code follow-ups open until %(day)s", found["open"]
    )
    return many % {"n": number_format(found["open"], force_grouping=True), "day": day}
