"""The policy: key families and datasets as one versioned definition (`policy.toml`)."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from django.db.models import Max
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.datasets.definition import DatasetDefinition, read_dataset
from backups.models import Dataset
from backups.models.datasets import DEFAULT_RULES
from kvops.approvals import evidence
from kvops.environments.effect import Definition, remove
from kvops.environments.toml import DefinitionRefused, Fields, TomlTable, insist_unique
from kvops.inventory import differences, families as key_families, impact
from kvops.inventory.registration import FamilyRegistration, registered
from kvops.models import ApprovalRequest, Family, PolicyVersion, PreparedChange
from kvops.names import visible
from kvops.wording import say

DEFAULT = Path(__file__).parent / "default_policy.toml"


class PolicyEdited(DefinitionRefused):
    """A family or dataset in the database differs from the newest version of the policy: nobody approved it."""


@dataclass(frozen=True)
class Policy(Definition):
    """All families and datasets of a policy."""

    kind = ApprovalRequest.Kind.POLICY
    action = Action.POLICY_APPLIED
    table = "kvops_family"
    overtaken = "Somebody else applied a policy just now. Apply yours again."

    families: tuple[key_families.FamilyDefinition, ...]
    datasets: tuple[DatasetDefinition, ...]

    @classmethod
    def read(cls, top: TomlTable) -> Self:
        """The policy of a TOML text or a prepared change. Raises DefinitionRefused."""
        families = key_families.read_families(top)
        datasets = sorted((read_dataset(table, families) for table in top.tables("dataset")), key=lambda d: d.name)
        top.done()
        if not families:
            raise DefinitionRefused("There is no [[family]].")
        insist_unique("The dataset", [d.name for d in datasets])
        insist_unique("The prefix of a dataset", [f"{d.binding} {d.prefix}" for d in datasets])
        return cls(families, tuple(datasets))

    @classmethod
    def in_force(cls) -> Self:
        """The families and datasets in force, read again if a policy took effect meanwhile."""
        newest = _newest_version()
        found = cls.read_rows()
        return found if _newest_version() == newest else cls.in_force()

    @classmethod
    def read_rows(cls) -> Self:
        """The families and datasets of the rows, of two policies if one takes effect meanwhile."""
        families = Family.objects.values(*key_families.FamilyDefinition.__dataclass_fields__)
        return cls.stored(families, Dataset.objects.values(*DatasetDefinition.__dataclass_fields__))

    @classmethod
    def stored(cls, families: Iterable[Mapping[str, Any]], datasets: Iterable[Mapping[str, Any]]) -> Self:
        """The policy of these rows of families and datasets."""
        found = sorted(map(DatasetDefinition.stored, datasets), key=lambda d: d.name)
        return cls(key_families.stored_families(families), tuple(found))

    @classmethod
    def exists(cls) -> bool:
        """Whether there is a version of the policy."""
        return PolicyVersion.objects.exists()

    def as_data(self) -> dict[str, object]:
        """The policy in the shape of the TOML, every field spelled out."""
        return {"family": [asdict(f) for f in self.families], "dataset": [asdict(d) for d in self.datasets]}

    def things(self) -> Mapping[str, Fields]:
        """Every family and dataset by a name for people, with the fields that may change."""
        things: dict[str, dict[str, object]] = {}
        for family in self.families:
            values = asdict(family)
            things[f"family {family}"] = {name: values[name] for name in values if name not in _NAMING}
        for dataset in self.datasets:
            values = asdict(dataset)
            things[f"dataset {dataset.name}"] = {name: values[name] for name in values if name != "name"}
        return things

    def insist_allowed(self) -> None:
        """Raise PolicyEdited, or DefinitionRefused for a legacy family without a key: that would be a new use of KV."""
        shown()
        if new := impact.new_uses(key_families.families_in_force(), self.families):
            raise DefinitionRefused(
                say(
                    _(
                        "family %(family)s: no environment has a key of it, so this is a new use of KV. A new use is "
                        "settings or cache, because master data goes to D1. If old keys exist, scan first."
                    ),
                    family=new[0],
                )
            )

    def insist_kept(self, removed: Collection[str]) -> None:
        """Raise DefinitionRefused if a registered family is lacking that `removed` does not name, or the reverse."""
        _insist_kept(self, removed)

    @classmethod
    def wanted_by(cls, change: PreparedChange) -> Self:
        """The policy that a prepared change asks for. A registered family is added to the policy in force."""
        if change.kind != ApprovalRequest.Kind.FAMILY:
            return super().wanted_by(change)
        return cls.in_force().with_family(FamilyRegistration.stored(change).family)

    def under_lock(self, change: PreparedChange) -> Self:
        """The policy, with the families in force under the lock if the change registers one."""
        return type(self).wanted_by(change)

    def with_family(self, family: key_families.FamilyDefinition) -> Self:
        """The policy with one more family, which is read and encrypted as its parent. Raises DefinitionRefused."""
        if any(family.key == one.key for one in self.families):
            raise DefinitionRefused(
                say(_("The policy already has the family %(family)s. Change it in policy.toml."), family=family)
            )
        wider = replace(self, families=(*self.families, impact.inheriting(family, self.families)))
        return type(self).read(TomlTable(json.loads(evidence.canonical_evidence(wider.as_data()))))

    def mark(self, change: PreparedChange) -> None:
        """Note on a registered family that it comes from this change."""
        if change.kind == ApprovalRequest.Kind.FAMILY:
            family = FamilyRegistration.stored(change).family
            found = Family.objects.filter(binding=family.binding, pattern=family.pattern, exact=family.exact)
            found.update(registration=change)

    def write(self) -> None:
        """Make the rows of families and datasets equal to the policy. Raises StillInUse."""
        key_families.replace(self.families)
        for dataset in Dataset.objects.exclude(name__in=[d.name for d in self.datasets]):
            remove(dataset, _("The dataset %(name)s has integrity checks and cannot be left out."), name=dataset.name)
        for definition in self.datasets:
            values = asdict(definition)
            Dataset.objects.update_or_create(name=values.pop("name"), defaults=values)

    def keep(self, text: str, actor: log.Actor) -> str:
        """Store a new version with the text of the policy."""
        version = PolicyVersion.objects.create(
            number=_newest_version() + 1,
            digest=evidence.digest_of(text),
            definition=text,
            applied_by=actor.text,
        )
        return f"policy:{version.number}"


def _newest_version() -> int:
    return PolicyVersion.objects.aggregate(last=Max("number"))["last"] or 0


def _insist_kept(wanted: Policy, removed: Collection[str]) -> None:
    """Raise DefinitionRefused if the policy lacks a registered family that `removed` does not name, or the reverse."""
    lacking = {family: _spellings(family) for family in _registered_but_not_in(wanted)}
    for family, spellings in lacking.items():
        if not spellings & set(removed):
            raise DefinitionRefused(
                say(
                    _(
                        "family %(binding)s %(family)s: it was registered on the page (approval %(approval)s), and the "
                        "file lacks it. Add it, as export_policy writes it, or say --remove '%(family)s'."
                    ),
                    binding=family.binding,
                    family=visible(str(family)),
                    approval=family.registration and family.registration.approval_id,
                )
            )
    if idle := set(removed) - set[str]().union(*lacking.values()):
        raise DefinitionRefused(
            say(_("--remove %(pattern)s: the file lacks no registered family of this name."), pattern=min(idle))
        )


def _spellings(family: Family) -> set[str]:
    """The ways in which a person may name a family: its pattern, with and without the star and the binding."""
    return {f"{start}{name}" for start in ("", f"{family.binding} ") for name in (family.pattern, str(family))}


def _registered_but_not_in(wanted: Policy) -> list[Family]:
    kept = {family.key for family in wanted.families}
    return [one for one in registered() if (one.binding, one.pattern, one.exact) not in kept]


def _insist_known(change: PreparedChange, wanted: Policy) -> None:
    """Raise DefinitionRefused if a family that the change removes was registered after the change was prepared."""
    for family in _registered_but_not_in(wanted):
        at = family.registration and family.registration.applied_at
        if at and at > change.prepared_at:
            raise DefinitionRefused(
                say(
                    _("family %(binding)s %(family)s was registered since. Apply the file again."),
                    binding=family.binding,
                    family=visible(str(family)),
                )
            )


_NAMING = {"binding", "pattern", "exact"}
_LATER: Fields = {
    "holds": Dataset.Holds.ROW.value,
    **dict.fromkeys(("path", "row"), ""),
    "beside": [],
    "rules": list(DEFAULT_RULES),
    "field_rules": {},
    "migrated_at": {},
    "newer_by": {},
    "orphans": [],
}
"""The fields of a dataset that older versions of the policy do not store, as they were in effect."""


def text_in_force() -> str:
    """The canonical text of the families and datasets, derived from their rows."""
    return evidence.canonical_evidence(Policy.in_force().as_data())


def rules_of(text: str) -> differences.Rules:
    """The families and datasets of a canonical text, by kind and name. The text needs no further validation."""
    data = json.loads(text)
    rules: dict[str, Fields] = {}
    for family in data.get("family", []):
        name = f"family {family['binding']} {family['pattern']}{'' if family['exact'] else '*'}"
        # `exact` tells the name `master:*` from the prefix `master:`.
        rules[name] = {field: value for field, value in family.items() if field not in {"binding", "pattern"}}
    for dataset in data.get("dataset", []):
        fields = {**_LATER, **dataset}
        rules[f"dataset {dataset['name']}"] = {field: value for field, value in fields.items() if field != "name"}
    return rules


def shown() -> dict[str, object]:
    """The version and the digest of the policy in force, for evidence.

    Raises PolicyVersion.DoesNotExist without a policy, and PolicyEdited if the rows differ from its newest version.
    """
    newest = PolicyVersion.objects.latest("number")
    edited = why_not_as(newest.number, newest.definition, Policy.read_rows())
    if not edited:
        return {"version": newest.number, "digest": newest.digest}
    if PolicyVersion.objects.filter(number__gt=newest.number).exists():  # it was replaced between the two reads
        return shown()
    raise PolicyEdited(edited)


def why_not_as(number: int, definition: str, now: Policy) -> str:
    """The sentence of PolicyEdited if the policy differs from the text of its version; else empty."""
    text = evidence.canonical_evidence(now.as_data())
    edited = differences.between(rules_of(definition), rules_of(text)) if text != definition else []
    if not edited:
        return ""
    return say(
        _(
            "The rules in the database differ from policy %(number)s: %(changes)s. Nobody approved this. Nothing "
            "goes on until they are as in policy %(number)s again; have the database checked."
        ),
        number=number,
        changes=differences.sentence(edited),
    )


def why_edited(_request: ApprovalRequest | None = None) -> str | Promise:
    """For any request, the sentence of PolicyEdited; empty while the rows are as approved, and without a policy."""
    try:
        shown()
    except PolicyEdited as edited:
        sentence: Promise = edited.args[0]
        return sentence
    except PolicyVersion.DoesNotExist:
        pass
    return ""


def difference(change: PreparedChange, in_force: Policy | None = None) -> list[differences.RuleChange]:
    """The difference that a prepared change makes to the policy it was asked for against.

    That is the version in its evidence; before it is submitted, the policy in force, which a page may know already.
    """
    asked = json.loads(change.approval.evidence) if change.approval else {}
    if "from" in asked:
        before = PolicyVersion.objects.get(number=asked["from"]["version"]).definition
    else:
        before = evidence.canonical_evidence((in_force or Policy.in_force()).as_data())
    return differences.between(rules_of(before), rules_of(change.definition))


def change_evidence(change: PreparedChange) -> dict[str, object]:
    """The evidence of a change: the difference, its effect on keys, and the digest of the whole beside it.

    The effect was counted when the change was submitted; all else is derived again. Raises PolicyEdited.
    """
    before, after = Policy.in_force(), Policy.wanted_by(change)
    _insist_known(change, after)
    changes = differences.between(rules_of(text_in_force()), rules_of(change.definition))
    asked = json.loads(change.approval.evidence) if change.approval else {}
    return {
        "format": FORMAT,
        "action": "change_policy",
        "change": change.pk,
        "prepared_by": change.prepared_by,
        "from": shown(),
        "to": {"sha256": evidence.digest_of(change.definition)},
        "difference": differences.for_evidence(changes),
        "keys": asked.get("keys") if asked else impact.counted(before.families, after.families),
        "risks": ["legacy_found"] if impact.become_legacy(before.families, after.families) else [],
    }


FORMAT = 1  # of the rules that derive the evidence of a change; it is part of the digest
apply_policy = Policy.apply
use_change = Policy.use
