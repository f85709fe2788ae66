"""The difference between two policies: each family and dataset that was added, removed or changed.

A difference is plain data, so that evidence can hold it. `words` gives it the reader's language.
"""

from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple, TypedDict

from django.utils.functional import Promise, lazy
from django.utils.translation import gettext as _, gettext_lazy

from kvops.approvals.evidence import canonical_evidence
from kvops.models import Category, Read
from kvops.templatetags.keys import expiry_design
from kvops.wording import labelled

type Rules = Mapping[str, Mapping[str, object]]
"""Families and datasets by kind and name (`family SETTINGS master:*`, `dataset masters`), each with its fields."""

LONGEST = 200
"""Characters of a value in evidence. A longer one is cut and carries its digest."""
MOST_BYTES = 40_000
"""Bytes of the list in evidence, which holds 64 KiB in all. The digest covers the changes that do not fit."""


class RuleChange(TypedDict):
    """One family or dataset with its fields, each as [old, new]."""

    thing: str
    name: str
    how: str
    fields: dict[str, list[object]]


def between(before: Rules, after: Rules) -> list[RuleChange]:
    """The changes from one policy to the other, sorted. A field that an older version did not store is left out."""
    found: list[RuleChange] = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if old is not None and new is not None:
            fields = {field: [old[field], new[field]] for field in old if field in new and old[field] != new[field]}
            how = "changed"
        else:
            how = "removed" if new is None else "added"
            filled = {field: value for field, value in (old or new or {}).items() if not _empty(value)}
            fields = {field: [value, None] if new is None else [None, value] for field, value in filled.items()}
        if fields or how != "changed":
            thing, _space, name = key.partition(" ")
            found.append({"thing": thing, "name": name, "how": how, "fields": fields})
    return found


def without_empty(fields: Mapping[str, object], names: Collection[str]) -> dict[str, object]:
    """The fields without the empty ones among these names."""
    return {name: value for name, value in fields.items() if name not in names or not _empty(value)}


def _empty(value: object) -> bool:
    return value is None or value is False or value in ("", [], {})


def for_evidence(changes: Sequence[RuleChange]) -> dict[str, object]:
    """The number of changes, their digest, and as many of them as fit, with long values cut."""
    kept: list[RuleChange] = []
    size = 0
    for change in changes:
        short: RuleChange = {**change, "fields": {name: [*map(_cut, pair)] for name, pair in change["fields"].items()}}
        size += len(canonical_evidence(short).encode())
        if size > MOST_BYTES:
            break
        kept.append(short)
    digest = sha256(canonical_evidence({"changes": changes}).encode()).hexdigest()
    return {"count": len(changes), "sha256": digest, "list": kept}


def _cut(value: object) -> object:
    text = value if isinstance(value, str) else canonical_evidence({"": value})
    if len(text) <= LONGEST:
        return value
    return f"{text[:LONGEST]}… ({sha256(text.encode()).hexdigest()})"


class FieldInWords(NamedTuple):
    """One field of a change, in the reader's language."""

    label: str
    old: str
    new: str


class ChangeInWords(NamedTuple):
    """One change, in the reader's language."""

    thing: str
    name: str
    how: str
    fields: list[FieldInWords]


def words(change: RuleChange) -> ChangeInWords:
    """The change in the reader's language."""
    fields = [
        FieldInWords(str(LABELS.get(field, field)), _word(field, old), _word(field, new))
        for field, (old, new) in change["fields"].items()
    ]
    return ChangeInWords(str(THINGS[change["thing"]]), change["name"], change["how"], fields)


def sentence(changes: Sequence[RuleChange]) -> str:
    """The first changes in one line, translated when it is read."""
    return _sentence(changes)


def _in_one_line(changes: Sequence[RuleChange]) -> str:
    parts = []
    for change in changes[:_NAMED]:
        said = words(change)
        what = ", ".join(f"{one.label} {one.old} → {one.new}" for one in said.fields)
        parts.append(labelled(f"{said.thing} {said.name}", what if said.how == "changed" else HOW[said.how]))
    more = len(changes) - _NAMED
    return "; ".join(parts) + (_("; and %(n)s more") % {"n": more} if more > 0 else "")


_sentence = lazy(_in_one_line, str)
_NAMED = 3

THINGS: dict[str, Promise] = {"family": gettext_lazy("Family"), "dataset": gettext_lazy("Dataset")}
HOW: dict[str, Promise] = {
    "added": gettext_lazy("added to the policy"),
    "removed": gettext_lazy("removed from the policy"),
}
LABELS: dict[str, Promise] = {
    "exact": gettext_lazy("Exactly this name"),
    "category": gettext_lazy("Category"),
    "owner": gettext_lazy("Owner"),
    "expiry": gettext_lazy("Expiry design"),
    "note": gettext_lazy("Note"),
    "read": gettext_lazy("Values are read"),
    "sample": gettext_lazy("Sample"),
    "retain_days": gettext_lazy("Days that backups are kept"),
    "notice_days": gettext_lazy("Notices, days before"),
    "interval_hours": gettext_lazy("Hours between backups"),
    "grace_hours": gettext_lazy("Hours until overdue"),
    "encrypt": gettext_lazy("Always encrypted"),
    "qa_may_take": gettext_lazy("Can be restored into QA"),
    "binding": gettext_lazy("Binding"),
    "prefix": gettext_lazy("Prefix"),
    "database": gettext_lazy("Database"),
    "table": gettext_lazy("Table"),
    "key": gettext_lazy("Key"),
    "holds": gettext_lazy("A key holds"),
    "path": gettext_lazy("Path to the rows"),
    "row": gettext_lazy("Id of a row"),
    "beside": gettext_lazy("Members beside the rows"),
    "rules": gettext_lazy("Type rules"),
    "field_rules": gettext_lazy("Type rules of a field"),
    "fields": gettext_lazy("Compared"),
    "ignore": gettext_lazy("Ignored"),
    "only_in_d1": gettext_lazy("A row without a key"),
    "migrated_at": gettext_lazy("Moved to D1 at"),
    "newer_by": gettext_lazy("Time stamp of a row"),
    "orphans": gettext_lazy("Keys without a row"),
}
_CHOICES: dict[str, dict[str, Promise]] = {
    "category": {choice.value: choice.label for choice in Category},
    "read": {choice.value: choice.label for choice in Read},
    "holds": {
        "row": gettext_lazy("one row"),
        "array": gettext_lazy("an array of rows"),
        "object": gettext_lazy("an object of rows by id"),
    },
    "interval_hours": {"0": gettext_lazy("no backup is expected")},
    "only_in_d1": {"block": gettext_lazy("is a difference"), "allow": gettext_lazy("is allowed")},
}


def _word(field: str, value: object) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if _empty(value):
        return "–"
    if field == "expiry":
        return expiry_design(str(value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} = {_word('', other)}" for name, other in sorted(value.items()))
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(_CHOICES.get(field, {}).get(str(value), value))
