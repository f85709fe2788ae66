"""The registration of one key family by a person: its definition, and the answers of the design review.

A new use of KV is settings or cache. It names its feature, its owner, its expiry, a sample and the design review
(policy 6c). The form and the domain apply the same rules, `faults`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from kvops.cloudflare import MAX_NAME_BYTES
from kvops.environments.toml import DefinitionRefused, TomlTable
from kvops.inventory.families import FamilyDefinition, read_families
from kvops.models import ApprovalRequest, Category, Family, PreparedChange
from kvops.names import storable
from kvops.wording import explains, say

FIELDS = ("binding", "pattern", "exact", "category", "owner", "expiry", "note")
"""The fields of a family that a person chooses. The others have the values of a policy that names no others."""
_ADDRESS = re.compile(r"https?://\S+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class FamilyRegistration:
    """A family, and the answers about it that no policy file has."""

    family: FamilyDefinition
    feature: str
    sample_key: str
    shape: str
    review: str

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """The registration of plain data, as `as_data` returns it. Raises DefinitionRefused."""
        for _field, sentence in faults(data):
            raise DefinitionRefused(sentence)
        [family] = read_families(TomlTable({"family": [{name: data[name] for name in FIELDS if name in data}]}))
        return cls(family, data["feature"], data["sample_key"], data["shape"], data["review"])

    @classmethod
    def stored(cls, change: PreparedChange) -> Self:
        """The registration that a prepared change holds. Raises DefinitionRefused."""
        return cls.read(json.loads(change.definition))

    def as_data(self) -> dict[str, object]:
        """The registration as plain data."""
        chosen: dict[str, object] = {name: getattr(self.family, name) for name in FIELDS}
        return {**chosen, **self.answers()}

    def answers(self) -> dict[str, object]:
        """The answers besides the family's own fields."""
        return {"feature": self.feature, "sample_key": self.sample_key, "shape": self.shape, "review": self.review}

    @property
    def about(self) -> str:
        """The identity of the pattern: no two open requests have the same."""
        return about(self.family)


def about(family: FamilyDefinition) -> str:
    """The identity of a pattern as text. `master:*` as a name differs from `master:` as a prefix."""
    return f"{family.binding} {'name' if family.exact else 'prefix'} {family.pattern}"


def faults(data: Mapping[str, Any]) -> Iterator[tuple[str, str | Promise]]:
    """The rules that the registration breaks: the field, and the sentence for it."""
    pattern, exact = str(data["pattern"]), bool(data["exact"])
    starred = pattern.endswith("*") and not exact
    if starred:
        yield "pattern", _("A prefix has no star at its end. Leave it out.")
    if not storable(pattern) or len(pattern.encode()) > MAX_NAME_BYTES:
        yield "pattern", say(_("A prefix is text without NUL of at most %(most)s bytes."), most=MAX_NAME_BYTES)
    for name in ("feature", "owner"):
        if not str(data[name]).strip() or _CONTROLS.search(str(data[name])):
            yield name, _("Write this on one line.")
    yield from _faults_of_design(data)
    if not starred and not _covers(pattern, str(data["sample_key"]), exact=exact):
        yield "sample_key", _("The sample must be a key that the pattern covers.")
    if not str(data["shape"]).strip():
        yield "shape", _("Describe the value: its members and their types, never a real value.")
    if not _ADDRESS.fullmatch(str(data["review"])) or not urlsplit(str(data["review"])).netloc:
        yield "review", _("Give the address of the design review, beginning with https://.")


def _faults_of_design(data: Mapping[str, Any]) -> Iterator[tuple[str, str | Promise]]:
    """The rules about expiry that the registration breaks."""
    category, expiry = data["category"], data["expiry"]
    if category == Category.CACHE and expiry == "none":
        yield "expiry", _("A cache expires or is written again when it is missing. Choose which.")
    if category == Category.SETTINGS and expiry == "none" and not explains(str(data["note"])):
        yield "note", _("Say why these settings never expire.")


def _covers(pattern: str, name: str, *, exact: bool) -> bool:
    if not storable(name) or len(name.encode()) > MAX_NAME_BYTES:
        return False
    return Family(pattern=pattern, exact=exact).matches(name)


def registered() -> Sequence[Family]:
    """The families in force that were registered on the page, with the change that holds the registration."""
    found = Family.objects.filter(registration__isnull=False).select_related("registration__approval")
    return list(found.order_by("binding", "pattern", "exact"))


def open_registrations() -> Sequence[PreparedChange]:
    """The registrations that wait for a decision or for their use, oldest first."""
    undone = PreparedChange.objects.filter(
        kind=ApprovalRequest.Kind.FAMILY, applied_at__isnull=True, discarded_at__isnull=True
    )
    return list(undone.select_related("approval__requester").order_by("pk"))
