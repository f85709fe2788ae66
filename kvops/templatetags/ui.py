"""The building blocks of every page: `{% load ui %}`."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import urlsplit
from zlib import crc32

from django import forms, template
from django.forms.boundfield import BoundField
from django.forms.widgets import ChoiceWidget
from django.template import Context
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.timesince import timeuntil
from django.utils.translation import gettext as _, ngettext, pgettext

from kvops import names, wording
from kvops.approvals import environment_changes, titles
from kvops.operations import registry
from kvops.templatetags.problems import first_wrong
from kvops.web import listing, tables

register = template.Library()

KIB = 1024
NOTHING = mark_safe('<span class="text-secondary">–</span>')


class ShownEnvironment(Protocol):
    """The fields of an environment that the badge and the band need."""

    name: str
    production: bool


class StepperStep(Protocol):
    """One step of a stepper; `state` is done, current, todo or failed."""

    title: str | Promise
    state: str
    note: str | Promise


register.tag("listing", listing.listing)
register.simple_tag(wording.colon)
register.simple_tag(wording.comma)


@register.inclusion_tag("includes/environment_badge.html")
def environment_badge(environment: ShownEnvironment) -> dict[str, object]:
    """A badge with the environment's name. Production has its own colour."""
    return {"environment": environment}


@register.inclusion_tag("includes/environment_badge.html")
def place_badge(row: Mapping[str, object]) -> dict[str, object]:
    """The badge of the environment that a row of evidence names. The environment may have another name today."""
    return {"environment": {"name": row["environment_name"], "production": row["production"]}}


@register.inclusion_tag("includes/state_badge.html")
def state_badge(state: str, of: str = "") -> dict[str, object]:
    """A state (or a category) as word, icon and colour; `of` names the thing whose states have looks of their own."""
    return {"look": registry.look_of(f"{of}_{state}" if of else state)}


@register.filter
def commas(items: Iterable[object]) -> str:
    """The items of a list in one line."""
    return wording.comma().join(str(one) for one in items)


@register.filter(name="count")
def count(value: int | None) -> str:
    """A whole number with the language's separators; a dash for none."""
    return NOTHING if value is None else number_format(value, force_grouping=True)


@register.filter(name="bytes")
def bytes_(value: int | str | None) -> str:
    """A size in bytes, in powers of 1024; a dash for none. A step stays as it is."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return value
    size = float(value)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < KIB:
            return f"{number_format(round(size, 1), 0 if unit == 'B' else 1)} {unit}"
        size /= KIB
    return f"{number_format(round(size, 1), 1, force_grouping=True)} TiB"


@register.filter
def value_size(size: int | None, masked: object) -> str:
    """The size of a value. A masked one is only shown to be at most one of the steps."""
    return bytes_(wording.stepped(size, masked))


@register.filter
def person(stated: object) -> str:
    """The name of a person, with the mail address on hover: the columns of lists are narrow."""
    return format_html('<span title="{}">{}</span>', stated, str(wording.actor(str(stated))).partition(" <")[0])


@register.filter
def whole_person(stated: object) -> str:
    """A person with the mail address, or another actor, for a narrow column: a line may break after @ and colon."""
    *parts, last = re.split("(?<=[@:])", str(wording.actor(str(stated))))
    return format_html("{}{}", format_html_join("", "{}<wbr>", ((part,) for part in parts)), last)


@register.filter
def host(url: str) -> str:
    """The host of an address, as the text of its link."""
    return urlsplit(url).netloc


register.filter("said", wording.said)
register.filter("spoken", wording.spoken)
register.filter("actor", wording.actor)
register.filter("visible", names.visible)
register.filter("typeable", names.typeable)
register.filter("approval_title", titles.title_of)
register.filter("change_in_words", environment_changes.change_in_words)


@register.filter
def result_name(name: str) -> str:
    """The label of a figure in the result of a run."""
    return str(registry.FIGURES.get(name, name))


@register.filter
def left_until(moment: datetime) -> str:
    """The time until a moment, in at most two units."""
    larger, _comma, smaller = timeuntil(moment).partition(", ")
    units = {"larger": larger, "smaller": smaller}
    return pgettext("two units of a duration", "%(larger)s, %(smaller)s") % units if smaller else larger


@register.simple_tag
def when(value: datetime | None, seconds: bool = False, exact: bool = False) -> str:
    """A moment: within a week in words, with the full time on tap; else the full time. UTC on hover; a dash for none.

    `exact` is for a moment inside a sentence ("until …"), `seconds` for a record: both always show the full time.
    """
    if value is None:
        return NOTHING
    utc, local = value.astimezone(UTC), timezone.localtime(value)
    written = f"{local:%Y-%m-%d %H:%M:%S}" if seconds else f"{local:%Y-%m-%d %H:%M}"
    full = format_html('{} <small class="text-secondary">{}</small>', written, local.tzname() or "")
    words = "" if seconds or exact else distance(value, timezone.now())
    return format_html(
        '<time class="{}" datetime="{}" title="{}"{}>{}</time>',
        "when text-nowrap" if words else "text-nowrap",
        utc.isoformat(),
        f"{local:%Y-%m-%d %H:%M:%S %Z} = {utc:%Y-%m-%d %H:%M:%S} UTC" if words else f"{utc:%Y-%m-%d %H:%M:%S} UTC",
        mark_safe(' tabindex="-1"') if words else "",
        format_html('<span>{}</span><span class="when-full"> {}</span>', words, full) if words else full,
    )


@register.simple_tag
def sha(digest: str) -> str:
    """A digest: shown short, selected and read in full."""
    return format_html('<code class="sha" title="{}">{}</code>', digest, digest) if digest else NOTHING


@register.inclusion_tag("includes/copy_button.html")
def copy_button(text: str) -> dict[str, object]:
    """A button that copies the text. It appears only if scripts run."""
    return {"text": text}


@register.simple_block_tag
def command(content: str) -> str:
    """Commands or a file to copy: `{% command %}manage.py doctor{% endcommand %}`."""
    return format_html(
        '<div class="d-flex align-items-start gap-1">'
        '<pre class="flex-fill mb-0" tabindex="0" translate="no">{}</pre>{}</div>',
        mark_safe(content.strip()),  # noqa: S308 (a block of the template: it is escaped)
        render_to_string("includes/copy_button.html", {"text": ""}),
    )


@register.simple_tag
def key_name(name: str | bytes) -> str:
    """A key's name, with confusable and invisible characters made visible."""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
    last = len(text) - 1
    shown = format_html_join("", "{}", ((_shown(char, at in (0, last)),) for at, char in enumerate(text)))
    return format_html('<code class="key-name" dir="ltr" translate="no">{}</code>', shown)


def _shown(char: str, at_edge: bool) -> str:
    category = unicodedata.category(char)
    if not names.invisible(char) and (category != "Zs" or (char == " " and not at_edge)):
        return char
    if char == " ":
        return mark_safe('<span class="mark-char">␣</span>')
    title = unicodedata.name(char, _("control character"))
    return format_html('<span class="mark-char" title="{}">U+{}</span>', title, f"{ord(char):04X}")


@register.inclusion_tag("includes/progress.html")
def progress(done: int, total: int | None, label: str = "") -> dict[str, object]:
    """The progress of work; without a total the bar only shows that the work is under way."""
    percent = min(100, done * 100 // total) if total else None
    return {"done": done, "total": total or None, "percent": percent, "label": label or _("Progress")}


@register.inclusion_tag("includes/empty_state.html")
def empty_state(
    icon: str,
    title: str,
    text: str,
    action_url: str = "",
    action_label: str = "",
    *,
    page: str = "",
    form: forms.Form | str = "",
    filtered: object = False,
) -> dict[str, object]:
    """The text of a list without rows, and the next step: a link to an address, or to the `page` of this name.

    If the list has filters, their form or `filtered` says that they left nothing.
    """
    action_url = reverse(page) if page else action_url
    if isinstance(form, forms.Form) and form.errors:
        icon, title, text = "triangle-alert", _("A filter cannot be read"), _("Correct the marked filter.")
        action_url = ""
    elif filtered:
        icon, title, text, action_url = "search-x", _("Nothing matches"), _("Change or clear the filters."), ""
    return {"icon": icon, "title": title, "text": text, "action_url": action_url, "action_label": action_label}


@register.inclusion_tag("includes/stepper.html")
def stepper(steps: Iterable[StepperStep]) -> dict[str, object]:
    """Steps in order: done, current and open ones."""
    marks = {"done": "check", "current": "circle-dot", "todo": "circle-dashed", "failed": "x"}
    words = {"done": _("Done"), "current": _("Now"), "todo": _("Still to do"), "failed": _("Failed")}
    colours = {"done": "bg-success text-white", "current": "bg-primary text-white", "failed": "bg-danger text-white"}
    return {
        "steps": [(one, marks[one.state], words[one.state], colours.get(one.state, "text-secondary")) for one in steps]
    }


@register.inclusion_tag("includes/disabled_button.html")
def disabled_button(label: str, reason: str, style: str = "btn-primary") -> dict[str, object]:
    """A disabled button with the reason, also for screen readers."""
    return {"label": label, "reason": reason, "style": style, "id": f"why-{crc32(f'{label}{reason}'.encode()):08x}"}


@register.simple_block_tag
def datagrid(content: str) -> str:
    """A grid of facts: `{% datagrid %}{% fact "Owner" %}…{% endfact %}{% enddatagrid %}`."""
    return format_html('<dl class="datagrid mb-0">{}</dl>', content)


@register.simple_block_tag
def fact(content: str, title: str) -> str:
    """One fact of a datagrid."""
    return format_html(
        '<div class="datagrid-item"><dt class="datagrid-title">{}</dt><dd class="datagrid-content m-0">{}</dd></div>',
        title,
        content,
    )


@register.simple_block_tag
def table(content: str, label: str, style: str = "table-vcenter card-table", of: object = "") -> str:
    """A table that scrolls in itself, and folds on a phone: each row a block, each cell a line with its heading.

    `{% table _("Runs") %}<thead>…</thead><tbody>…</tbody>{% endtable %}`; `label` names it to screen readers, and
    `of` the thing that it is about, where a page has several such tables.
    """
    return format_html(
        '<div class="table-responsive" tabindex="0" role="region" aria-label="{}">'
        '<table class="table table-fold {}">{}</table></div>',
        wording.labelled(label, of) if of else label,
        style,
        tables.labelled(content),
    )


@register.inclusion_tag("includes/field.html")
def field(bound: BoundField, expected: str = "") -> dict[str, object]:
    """A form field with label, help and errors. `expected` is the text to type before the button works."""
    widget = bound.field.widget
    many = isinstance(widget, (forms.RadioSelect, forms.CheckboxSelectMultiple))
    check = isinstance(widget, forms.CheckboxInput)
    if isinstance(widget, ChoiceWidget):
        widget.choices = list(iter(widget.choices))  # read once: Django asks for the first one, and the template again
    style = "form-check-input" if many or check else "form-control"
    if isinstance(widget, forms.Select) and not many:
        style = "form-select"
    attrs: dict[str, str | bool] = {"class": f"{style} is-invalid" if bound.errors else style}
    if bound.form.is_bound and bound.name == first_wrong(bound.form):
        attrs["autofocus"] = True
    if many:  # the template renders one input per choice
        widget.attrs |= attrs
    if expected:
        attrs |= {"data-confirm": expected, "autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}
    control: SafeString = bound.as_widget(attrs=attrs)
    return {"field": bound, "control": control, "check": check, "many": many, "expected": expected}


@register.inclusion_tag("includes/pager.html", takes_context=True)
def pager(context: Context, after: str | None) -> dict[str, object]:
    """Links of a keyset list: to the start, and to the page after the given value (none at the end)."""
    return {"request": context["request"], "after": after}


WEEK = timedelta(days=7)
"""Farther from now, a date says more than a number of days."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def distance(at: datetime, now: datetime) -> str:
    """The distance of a moment from now; empty if it is a week or more. `kvops.js` keeps it true on an open page."""
    if abs(at - now) >= WEEK:
        return ""
    seconds = int(abs((at - now).total_seconds()))
    coming = at > now
    if seconds < _MINUTE:
        return _("in less than a minute") if coming else _("just now")
    if seconds < _HOUR:
        n = seconds // _MINUTE
        return (
            ngettext("in %(n)d minute", "in %(n)d minutes", n)
            if coming
            else ngettext("%(n)d minute ago", "%(n)d minutes ago", n)
        ) % {"n": n}
    if seconds < 2 * _DAY:
        n = seconds // _HOUR
        return (
            ngettext("in %(n)d hour", "in %(n)d hours", n)
            if coming
            else ngettext("%(n)d hour ago", "%(n)d hours ago", n)
        ) % {"n": n}
    n = seconds // _DAY
    return (
        ngettext("in %(n)d day", "in %(n)d days", n) if coming else ngettext("%(n)d day ago", "%(n)d days ago", n)
    ) % {"n": n}
