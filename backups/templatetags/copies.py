"""How copies and checks are shown on their own pages: `{% load copies %}`."""

from collections.abc import Sequence
from datetime import datetime

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _

from backups.models import Check, Generation
from kvops.templatetags.kvops_ui import key_name, state_badge

register = template.Library()

HEX_BYTES = 2_048
TEXT_BYTES = 256 * 1024


@register.simple_tag
def prefixes(of: Sequence[str]) -> str:
    """Prefixes as one reads them: each with a star, the empty one in words."""
    return format_html_join(" ", "{}", ((key_name(f"{prefix}*") if prefix else _("all keys"),) for prefix in of))


@register.inclusion_tag("backups/status.html")
def generation_status(generation: Generation, stale_before: datetime) -> dict[str, object]:
    """How far a copy can be trusted, with the date and the reason."""
    verified = generation.verified_at if generation.status == Generation.Status.VERIFIED else None
    return {"generation": generation, "verified_at": verified, "stale": bool(verified and verified < stale_before)}


@register.inclusion_tag("includes/state_badge.html")
def check_outcome(check: Check) -> dict[str, object]:
    """What a check found; while it found nothing yet, how its work goes."""
    shown = {Check.Outcome.PASSED: "passed", Check.Outcome.FAILED: "different"}
    return state_badge(shown.get(Check.Outcome(check.outcome), check.run.state))


@register.inclusion_tag("backups/bytes.html")
def value_bytes(data: bytes) -> dict[str, object]:
    """A value: as text where it is text, as bytes otherwise; a long one only from its beginning."""
    try:
        text = data[:TEXT_BYTES].decode()
    except UnicodeDecodeError as error:
        # A character that the cut went through is no sign of binary data.
        cut = len(data) > TEXT_BYTES and error.start > TEXT_BYTES - 4
        text = data[: error.start].decode() if cut else ""
    is_text = "\0" not in text and bool(text or not data)
    shown = TEXT_BYTES if is_text else HEX_BYTES
    return {
        "size": len(data),
        "text": text if is_text else "",
        "lines": [] if is_text else _hex(data[:HEX_BYTES]),
        "shown": shown if len(data) > shown else None,
    }


def _hex(data: bytes) -> list[str]:
    rows = ((at, data[at : at + 16]) for at in range(0, len(data), 16))
    return [
        f"{at:08x}  {row.hex(' '):<47}  {''.join(chr(b) if 32 <= b < 127 else '.' for b in row)}" for at, row in rows
    ]


@register.filter
def hexadecimal(digest: bytes | None) -> str:
    """A digest as text; empty for none."""
    return bytes(digest).hex() if digest else ""


@register.filter
def prose(line: str) -> str:
    """A line of Markdown with what stands between backticks as code."""
    pieces = line.split("`")
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", piece) if at % 2 else piece,) for at, piece in enumerate(pieces))
    )
