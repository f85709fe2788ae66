"""Backups and checks on their own pages: `{% load generations %}`."""

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _

from backups.integrity import start as check_start
from backups.models import Check, Comparison, Dataset, Generation
from kvops.inventory import value as key_value
from kvops.prefixes import patterns
from kvops.templatetags.ui import key_name, state_badge
from kvops.wording import reason_of

register = template.Library()

_stale = attrgetter("stale")


@register.simple_tag
def prefixes(of: Sequence[str]) -> str:
    """Prefixes for people: each with a star, the empty one in words."""
    return _prefixes(of, patterns(of))


@register.simple_tag
def prefixes_of(backup: Generation) -> str:
    """The prefixes of a backup for people; an exact key without a star."""
    return _prefixes(backup.prefixes, backup.shown_prefixes)


def _prefixes(of: Sequence[str], shown: Sequence[str]) -> str:
    names = (key_name(pattern) if prefix else _("all keys") for prefix, pattern in zip(of, shown, strict=True))
    return format_html('<span class="prefixes">{}</span>', format_html_join(" ", "{}", ((name,) for name in names)))


@register.inclusion_tag("backups/status.html")
def generation_status(generation: Generation) -> dict[str, object]:
    """The state of a backup, with its date and reason. The page reads it with `stale`, see `generations.contents`."""
    verified = generation.verified_at if generation.status == Generation.Status.VERIFIED else None
    # A page that read it without `stale` must not show it as fresh: this raises AttributeError.
    return {"generation": generation, "verified_at": verified, "stale": bool(verified and _stale(generation))}


@register.simple_tag
def comparison_title(comparison: Comparison) -> str:
    """The two sides of a comparison, as a title."""
    facts = {
        "backup": comparison.generation_id,
        "other": comparison.other_id,
        "environment": comparison.namespace.environment,
    }
    if comparison.other_id:
        return _("From backup %(backup)s to backup %(other)s") % facts
    return _("From backup %(backup)s to the contents of KV in %(environment)s") % facts


class Checkable(NamedTuple):
    """The dataset that a backup can be checked with, or the reason why it cannot be checked."""

    dataset: Dataset | None
    why_not: str


@register.simple_tag
def checkable(generation: Generation) -> Checkable:
    """The dataset for a check of the backup, or the reason why there is none."""
    try:
        return Checkable(check_start.datasets_of(generation)[0], "")
    except check_start.CheckRefused as refused:
        return Checkable(None, reason_of(refused))


@register.inclusion_tag("includes/state_badge.html")
def check_outcome(check: Check) -> dict[str, object]:
    """The result of a check; until there is one, the state of its run."""
    shown = {Check.Outcome.PASSED: "passed", Check.Outcome.FAILED: "different"}
    return state_badge(shown.get(Check.Outcome(check.outcome), check.run.state))


@register.inclusion_tag("backups/bytes.html")
def value_bytes(data: bytes) -> dict[str, object]:
    """A value as text, or as bytes if it is not text; only the beginning of a long value."""
    try:
        is_text = "\0" not in data.decode()
    except UnicodeDecodeError:
        is_text = False
    limit = key_value.SHOWN if is_text else key_value.SHOWN_IN_HEX
    # The limit can cut only the last character of a text.
    shown = data[:limit].decode("utf-8", "ignore") if is_text else key_value.in_hex(data[:limit])
    return {"is_text": is_text, "shown": shown, "size": len(data), "limit": limit if len(data) > limit else None}


@register.filter
def hexadecimal(digest: bytes | None) -> str:
    """A digest as text; empty for none."""
    return bytes(digest).hex() if digest else ""


@register.filter
def prose(line: str) -> str:
    """A line of Markdown, with the text between backticks as code."""
    pieces = line.split("`")
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", piece) if at % 2 else piece,) for at, piece in enumerate(pieces))
    )
