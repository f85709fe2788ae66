"""The evidence of a request as a few lines: each is in order or asks for a look, and opens. `{% load evidence %}`.

The lines repeat what the evidence says; they check nothing. Evidence of an earlier version may lack a part: its line
says so, and the page stays.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _, gettext_lazy, ngettext

from kvops.approvals.code_verdict import follow_ups_open
from kvops.models import ApprovalRequest, Environment
from kvops.templatetags.states import look_of

register = template.Library()

Kind = ApprovalRequest.Kind
type Shown = Mapping[str, Any]


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


@register.simple_tag
def lines_of(asked: ApprovalRequest, shown: Shown) -> list[EvidenceLine]:
    """The lines of a request, by its kind."""
    return [line(shown) for line in _LINES.get(Kind(asked.kind), ())]


@register.simple_tag
def ids_of(asked: ApprovalRequest, shown: Shown) -> list[tuple[str | Promise, str]]:
    """The ids and digests of a request with their labels, the digest of its evidence last."""
    found = [(label, part(shown, path)) for path, label in _IDS]
    digest = (gettext_lazy("Digest of the content shown here"), asked.digest)
    return [(label, value) for label, value in [*found, digest] if isinstance(value, str) and value]


def part(shown: object, path: str) -> Any:
    """A part of the evidence by its path, such as `names.count`; None if this evidence has none."""
    for name in path.split("."):
        shown = shown.get(name) if isinstance(shown, Mapping) else None
    return shown


@register.filter
def environment_name(slug: str) -> str:
    """The shown name of an environment that evidence names by its short name."""
    return Environment.objects.filter(slug=slug).values_list("name", flat=True).first() or slug


_IDS = (
    ("account_id", gettext_lazy("Account")),
    ("namespace_id", gettext_lazy("Namespace id")),
    ("policy.digest", gettext_lazy("Digest of the policy")),
    ("scope_digest", gettext_lazy("Digest of the scope")),
    ("names.sha256", gettext_lazy("Digest of the names")),
    ("chosen.sha256", gettext_lazy("Digest of the chosen names")),
    ("overwritten.sha256", gettext_lazy("Digest of the overwritten names")),
    ("generation.manifest_sha256", gettext_lazy("Digest of the manifest")),
    ("generation.digest_root", gettext_lazy("Digest of the entries")),
    ("entries_root", gettext_lazy("Digest of the entries to write")),
    ("objects.sha256", gettext_lazy("Digest of the objects")),
    ("references.search.digest", gettext_lazy("Digest of the search")),
    ("references.answers_sha256", gettext_lazy("Digest of the answers")),
    ("proposal.sha256", gettext_lazy("SHA-256 of its ciphertext")),
    ("script_sha256", gettext_lazy("SHA-256 of its script")),
)
"""What only a machine compares, by its path in the evidence."""


def _warnings(shown: Shown, *, about_qa: bool) -> list[Shown]:
    return [one for one in shown.get("warnings") or [] if str(one.get("code", "")).startswith("qa_") == about_qa]


def _number(value: object) -> str:
    return number_format(value, force_grouping=True) if isinstance(value, int) else "–"


def _keys(value: object) -> str:
    number = value if isinstance(value, int) else 0
    return ngettext("%(n)s key", "%(n)s keys", number) % {"n": _number(value)}


def _day(at: object) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d}" if isinstance(at, datetime) else "–"


def _time(at: object) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M}" if isinstance(at, datetime) else "–"


def _word(state: object) -> str:
    return str(look_of(str(state)).word)


def _backup_in_words(shown: Shown) -> str:
    of = {
        "pk": part(shown, "generation.id"),
        "keys": _keys(part(shown, "generation.keys")),
        "state": _word(part(shown, "generation.status")),
        "time": _time(part(shown, "generation.finished_at")),
    }
    return _("backup %(pk)s, %(keys)s, finished %(time)s: %(state)s") % of


def _restorable(shown: Shown) -> EvidenceLine:
    """The backup of a deletion, its lock, and the undo that is approved with it."""
    lock, said = part(shown, "lock.state"), [_backup_in_words(shown)]
    if lock == "held" and part(shown, "lock.forever"):
        said.append(_("locked by R2 for ever"))
    elif lock == "held":
        said.append(_("locked by R2 until %(day)s") % {"day": _day(part(shown, "lock.locked_until"))})
    elif lock:
        said.append(_word(f"lock_{lock}"))
    if hours := part(shown, "undo.hours"):
        said.append(_("an undo within %(n)s hours is approved with it") % {"n": hours})
    locked = lock == "held" or not any(str(risk).startswith("lock_") for risk in shown.get("risks") or [])
    fine = part(shown, "generation.status") == "verified" and locked
    return EvidenceLine(_("Can be restored"), _("; ").join(said), fine, "approvals/lines/_restorable.html")


def _against_d1(shown: Shown) -> EvidenceLine:
    check, title, details = shown.get("check"), _("Agrees with D1"), "approvals/lines/_check.html"
    if not check:
        return EvidenceLine(_("No rows in D1"), _("caches and settings are not in D1"), None, details)
    differences = check.get("differences") or 0
    rows = ngettext("%(n)s row", "%(n)s rows", check.get("rows") or 0) % {"n": _number(check.get("rows"))}
    said = ngettext("%(keys)s, %(rows)s, %(n)s difference", "%(keys)s, %(rows)s, %(n)s differences", differences)
    said %= {"keys": _keys(check.get("keys")), "rows": rows, "n": _number(differences)}
    fine = check.get("outcome") == "passed" and not differences
    differs = _("Rows are newer in D1") if check.get("newer") else _("Differs from D1")
    return EvidenceLine(title if fine else differs, said, fine, details)


def _done_in_qa(shown: Shown) -> EvidenceLine:
    found, details = shown.get("qa") or [], "approvals/lines/_qa_stages.html"
    if not found:
        said = _("this is the first environment in the order of clean-up")
        return EvidenceLine(_("First environment"), said, None, details)
    warnings = _warnings(shown, about_qa=True)
    said = _("; ").join(
        _("%(deleted)s of %(names)s deleted, %(n)s reappeared")
        % {"deleted": _number(qa["deleted"]), "names": _keys(qa["names"]), "n": _number(qa.get("reappeared") or 0)}
        for qa in found
    )
    title = _("Done in %(environment)s") % {
        "environment": ", ".join(environment_name(qa["environment"]) for qa in found)
    }
    return EvidenceLine(title, said, not warnings, details, warnings, quote=str(found[-1]["note"]))


def _code(shown: Shown) -> EvidenceLine:
    title, details = _("Code references"), "approvals/lines/_code.html"
    if not part(shown, "references.search"):
        return EvidenceLine(title, _("The code was not searched."), False, details)
    hits, open_ = part(shown, "references.hits") or 0, part(shown, "references.unanswered") or 0
    code = str(part(shown, "references.search.commit") or part(shown, "references.search.version") or "")[:8]
    said = ngettext(
        "%(n)s place found, %(open)s without an answer", "%(n)s places found, %(open)s without an answer", hits
    ) % {"n": _number(hits), "open": _number(open_)}
    follow_ups = follow_ups_open(shown["references"])
    said += _("; ") + follow_ups if follow_ups else ""
    said += _("; ") + code if code else ""
    deployed = part(shown, "references.deployed.state") == "same"
    if not deployed:
        said += _("; ") + _word(f"code_{part(shown, 'references.deployed.state')}")
    return EvidenceLine(title, said, deployed and not open_ and not follow_ups, details)


def _shared(shown: Shown) -> EvidenceLine:
    title, details = _("Shared with the team"), "approvals/lines/_shared.html"
    if not (place := part(shown, "shared.place")):
        return EvidenceLine(_("Not shared with the team"), _("no place is recorded"), False, details)
    return EvidenceLine(title, str(place), True, details)


def _limits(shown: Shown) -> EvidenceLine:
    warnings, title = _warnings(shown, about_qa=False), _("Limits")
    if not warnings:
        return EvidenceLine(title, _("none to look at"), True, "approvals/lines/_limits.html")
    return EvidenceLine(title, "", False, "approvals/lines/_limits.html", warnings)


def _source_backup(shown: Shown) -> EvidenceLine:
    """The backup that a restore reads."""
    fine = part(shown, "generation.status") == "verified"
    return EvidenceLine(_("Source backup"), _backup_in_words(shown), fine, "approvals/lines/_backup.html")


def _backed_up_first(shown: Shown) -> EvidenceLine:
    """The backup of what a change overwrites."""
    if shown.get("new_key"):
        return EvidenceLine(_("Nothing is overwritten"), _("the key is new"), True, "approvals/lines/_backup.html")
    fine = part(shown, "generation.status") == "verified"
    return EvidenceLine(_("Can be restored"), _backup_in_words(shown), fine, "approvals/lines/_backup.html")


def _compared(shown: Shown) -> EvidenceLine:
    number = part(shown, "overwritten.count") or 0
    said = ngettext("%(n)s key is overwritten", "%(n)s keys are overwritten", number) % {"n": _number(number)}
    said += _("; ") + _("compared at %(time)s") % {"time": _time(part(shown, "compared.at"))}
    return EvidenceLine(_("Compared with KV"), said, not number, "approvals/lines/_compared.html")


def _changed_in_qa(shown: Shown) -> EvidenceLine:
    """The accepted change of the earlier environment that this one repeats."""
    qa, details = shown.get("qa"), "approvals/lines/_qa_change.html"
    if qa:
        said = f"{qa['accepted_by']} · {_time(qa['accepted_at'])}"
        fine = "bulk_qa_differs" not in (shown.get("risks") or [])
        title = _("Done in %(environment)s") % {"environment": environment_name(qa["environment"])}
        return EvidenceLine(title, said, fine, details, quote=str(qa["note"]))
    if because := shown.get("no_qa_because"):
        return EvidenceLine(_("Not tried in QA first"), _("the reason:"), False, details, quote=str(because))
    said = _("this environment comes before production")
    return EvidenceLine(_("First environment"), said, None, details)


def _replaced(shown: Shown) -> EvidenceLine:
    """Every backup that is pruned, and the newer ones that cover it."""
    backups = part(shown, "generations.list") or []
    fine = all(one.get("newer") for one in backups)
    said = _("a newer verified backup covers the whole scope of each") if fine else _("not each has a newer one")
    return EvidenceLine(_("Replaced by newer backups"), said, fine, "approvals/lines/_pruned.html")


def _stands_until(shown: Shown) -> EvidenceLine:
    """The end of an approval that carries run after run."""
    at = shown.get("until") or shown.get("ends_at")
    said = _("until %(time)s; it can be withdrawn at any time") % {"time": _time(at)}
    return EvidenceLine(_("Standing approval"), said, None, "approvals/lines/_stands.html")


def _at_most(shown: Shown) -> EvidenceLine:
    """The cap of a standing approval."""
    said = _("at most %(keys)s at a time") % {"keys": _keys(shown.get("cap"))}
    return EvidenceLine(_("Limited"), said, True, "approvals/lines/_stands.html")


def _no_run_resumes(_shown: Shown) -> EvidenceLine:
    said = _("an operator resumes each one after the release")
    return EvidenceLine(_("No run resumes by itself"), said, True)


def _reviewed_design(shown: Shown) -> EvidenceLine:
    said = _("owner: %(owner)s") % {"owner": part(shown, "family.owner") or "–"}
    return EvidenceLine(_("Design reviewed"), said, bool(shown.get("review")), "approvals/lines/_design.html")


_LINES: dict[ApprovalRequest.Kind, tuple[Callable[[Shown], EvidenceLine], ...]] = {
    Kind.DELETE_KEYS: (_restorable, _against_d1, _done_in_qa, _code, _shared, _limits),
    Kind.RESTORE: (_source_backup, _compared, _limits),
    Kind.PUT_KEY: (_backed_up_first, _changed_in_qa, _limits),
    Kind.BULK_CHANGE: (_backed_up_first, _changed_in_qa, _limits),
    Kind.DELETE_GENERATIONS: (_replaced,),
    Kind.CLEARING: (_stands_until, _at_most),
    Kind.DRILL: (_stands_until, _at_most),
    Kind.INVESTIGATION: (_stands_until,),
    Kind.RELEASE_STOP: (_no_run_resumes,),
    Kind.FAMILY: (_reviewed_design,),
}
"""The lines of each kind, in the order of the page. Other kinds are shown as a whole."""
