"""The open follow-ups of code references, in the same words for the operator, the reviewer and the certificate."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from django.utils.formats import date_format, number_format
from django.utils.translation import gettext as _, ngettext


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
