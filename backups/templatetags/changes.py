"""The parts of the pages of changes: `{% load changes %}`."""

from datetime import UTC, datetime

from django import template
from django.template import Context
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, ngettext

from backups.changes import shown
from backups.changes.propose import WARNINGS
from backups.models import BulkChange, KeyChange, Restore, RestoreEntry
from kvops.wording import moment, say

register = template.Library()

BULK_OUTCOMES = {
    RestoreEntry.Outcome.WRITTEN: _("changed, and read back"),
    RestoreEntry.Outcome.EQUAL: _("had it already"),
    RestoreEntry.Outcome.CHANGED: _("differs from its backup, left as it is"),
    RestoreEntry.Outcome.EXPIRED: _("past its expiration, left as it is"),
    RestoreEntry.Outcome.FAILED: _("not changed after three attempts"),
}
"""Results in the words of a bulk change, where those of a restore do not fit."""

PARTS = {"value": _("value"), "metadata": _("metadata"), "expiration": _("expiration")}


@register.filter
def change_parts(parts: list[str]) -> list[object]:
    """The parts that change, in words."""
    return [PARTS.get(part, part) for part in parts]


@register.filter
def change_warning(code: str) -> object:
    """A warning in words."""
    return WARNINGS.get(code.removeprefix("change_"), code)


@register.inclusion_tag("changes/_differences.html", takes_context=True)
def proposal_differences(context: Context, pk: int) -> dict[str, object]:
    """The paths that change, for operators and reviewers, while the change is open."""
    change = KeyChange.objects.select_related("environment", "namespace__environment").filter(pk=pk).first()
    may = bool(context["request"].user.has_perm("kvops.view_values"))
    visible = change is not None and change.is_open and bool(change.object_sha256)
    return {
        "change": change,
        "may_view": may,
        "visible": visible,
        "found": shown.differences_of(change) if may and visible and change else None,
    }


@register.filter
def bulk_pattern(restore: Restore) -> str:
    """The keys that a bulk change was chosen from: the prefix with a star, or one name."""
    return restore.prefix if restore.bulk.family.exact else f"{restore.prefix}*"


@register.filter
def bulk_state(restore: Restore) -> str:
    """The state for people: a bulk change that wrote is not done before somebody tried the application."""
    tried = restore.bulk.accepted_at is not None or restore.left == restore.names
    return restore.state if tried or restore.state != Restore.State.DONE else "to_accept"


@register.filter
def bulk_outcome(outcome: str) -> str | Promise:
    """The result for a key of a bulk change, in words."""
    kind = RestoreEntry.Outcome(outcome)
    return BULK_OUTCOMES.get(kind, kind.label)


@register.filter
def bulk_scope(scope: str) -> str | Promise:
    """The way in which the keys of a bulk change were chosen, in words."""
    return BulkChange.Scope(scope).label


@register.simple_tag
def bulk_effect(operation: str, lifetime: int | None, until: int | None, member: str, value: str) -> str:
    """What each key of a bulk change gets, in a sentence."""
    if operation == "mark":
        sentence = _("The member “%(member)s” of the metadata becomes “%(value)s”. Value and expiration stay.")
        return say(sentence, member=member, value=value)
    if until is not None:
        sentence = _("Each key expires at %(time)s. Value and metadata stay.")
        return say(sentence, time=moment(datetime.fromtimestamp(until, UTC)))
    sentence = _("Each key expires %(time)s after the start. Value and metadata stay.")
    return say(sentence, time=_duration(lifetime or 0))


def _duration(seconds: int) -> str:
    """Seconds in days, hours or seconds, whichever is whole."""
    if seconds % 86_400 == 0:
        return ngettext("%(n)s day", "%(n)s days", seconds // 86_400) % {"n": seconds // 86_400}
    if seconds % 3_600 == 0:
        return ngettext("%(n)s hour", "%(n)s hours", seconds // 3_600) % {"n": seconds // 3_600}
    return ngettext("%(n)s second", "%(n)s seconds", seconds) % {"n": seconds}
