"""The evidence of a request as a few lines: each is in order or asks for a look, and opens.

The lines repeat what the evidence says; they check nothing. Evidence of an earlier version may lack a part: its line
says so, and the page stays. Each feature has the lines of its own kinds; those of several features are here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _, ngettext

from kvops.models import Environment

type Shown = Mapping[str, Any]
"""The evidence of a request."""


@dataclass(frozen=True)
class EvidenceLine:
    """One line. `fine` is None where the question does not arise; `details` names the template that opens.

    `warnings` and `quote` are visible although the line is folded.
    """

    title: str
    said: str
    fine: bool | None
    details: str = ""
    warnings: Sequence[Shown] = field(default_factory=list)
    quote: str = ""


def part(shown: object, path: str) -> Any:
    """A part of the evidence by its path, such as `names.count`; None if this evidence has none."""
    for name in path.split("."):
        shown = shown.get(name) if isinstance(shown, Mapping) else None
    return shown


def number_of(value: object) -> str:
    """A number as the reader writes it; a dash for none."""
    return number_format(value, force_grouping=True) if isinstance(value, int) else "–"


def keys_of(value: object) -> str:
    """A number of keys in words."""
    many = value if isinstance(value, int) else 0
    return ngettext("%(n)s key", "%(n)s keys", many) % {"n": number_of(value)}


def day_of(at: object) -> str:
    """A day in the reader's zone."""
    return f"{timezone.localtime(at):%Y-%m-%d}" if isinstance(at, datetime) else "–"


def time_of(at: object) -> str:
    """A time in the reader's zone."""
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M}" if isinstance(at, datetime) else "–"


def warnings_of(shown: Shown, *, about_qa: bool) -> list[Shown]:
    """The warnings of the evidence: those about QA, or the others."""
    return [one for one in shown.get("warnings") or [] if str(one.get("code", "")).startswith("qa_") == about_qa]


def limits(shown: Shown) -> EvidenceLine:
    """The warnings that are not about QA."""
    warnings, title = warnings_of(shown, about_qa=False), _("Limits")
    if not warnings:
        return EvidenceLine(title, _("none to look at"), True, "approvals/lines/_limits.html")
    return EvidenceLine(title, "", False, "approvals/lines/_limits.html", warnings)


def stands_until(shown: Shown) -> EvidenceLine:
    """The end of an approval that carries run after run."""
    at = shown.get("until") or shown.get("ends_at")
    said = _("until %(time)s; it can be withdrawn at any time") % {"time": time_of(at)}
    return EvidenceLine(_("Standing approval"), said, None, "approvals/lines/_stands.html")


def at_most(shown: Shown) -> EvidenceLine:
    """The cap of a standing approval."""
    said = _("at most %(keys)s at a time") % {"keys": keys_of(shown.get("cap"))}
    return EvidenceLine(_("Limited"), said, True, "approvals/lines/_stands.html")


def environment_name(slug: str) -> str:
    """The shown name of an environment that evidence names by its short name."""
    return Environment.objects.filter(slug=slug).values_list("name", flat=True).first() or slug
