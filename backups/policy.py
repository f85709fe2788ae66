"""The policy: key families and datasets as one versioned definition (`policy.toml`).

Without a policy in force it takes effect at once. Afterwards it becomes a prepared change that an operator submits
and a reviewer decides.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Formatter

from django.db import connection, transaction
from django.db.models import Max, ProtectedError
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.models import Dataset
from kvops.approvals import evidence, prepared_changes
from kvops.environments.definition import BINDING
from kvops.environments.toml import (
    Applied,
    DefinitionRefused,
    TomlTable,
    differences,
    for_the_audit_log,
    insist_unique,
    load,
)
from kvops.inventory import families as key_families
from kvops.models import ApprovalRequest, Person, PolicyVersion, PreparedChange
from kvops.wording import say

DEFAULT = Path(__file__).parent / "default_policy.toml"
COLUMN = r"[A-Za-z_][A-Za-z0-9_]{0,99}"


class DatasetInUse(DefinitionRefused):
    """A dataset that is left out has integrity checks, which are kept."""


@dataclass(frozen=True)
class DatasetDefinition:
    """One `[[dataset]]`; the fields are those of the model."""

    name: str
    binding: str
    prefix: str
    database: str
    table: str
    key: str
    fields: dict[str, str]
    ignore: tuple[str, ...]
    only_in_d1: str


@dataclass(frozen=True)
class Policy:
    """Everything a policy defines."""

    families: tuple[key_families.FamilyDefinition, ...]
    datasets: tuple[DatasetDefinition, ...]

    def as_data(self) -> dict[str, object]:
        """The policy in the shape of the TOML, every field spelled out: `policy_of_table` takes the JSON of it."""
        return {"family": [asdict(f) for f in self.families], "dataset": [asdict(d) for d in self.datasets]}

    def things(self) -> dict[str, dict[str, object]]:
        """Every family and dataset by a name for people, with what may change about it."""
        things: dict[str, dict[str, object]] = {}
        for family in self.families:
            values = asdict(family)
            things[f"family {family}"] = {name: values[name] for name in values if name not in _NAMING}
        for dataset in self.datasets:
            values = asdict(dataset)
            things[f"dataset {dataset.name}"] = {name: values[name] for name in values if name != "name"}
        return things


_NAMING = {"binding", "pattern", "exact"}


def parse_policy(text: str) -> Policy:
    """The policy of a TOML text. Raises DefinitionRefused."""
    return policy_of_table(load(text))


def policy_of_table(top: TomlTable) -> Policy:
    """The same from a table that was read already. Raises DefinitionRefused."""
    families = key_families.read_families(top)
    datasets = sorted((_dataset(table, families) for table in top.tables("dataset")), key=lambda d: d.name)
    top.done()
    if not families:
        raise DefinitionRefused("There is no [[family]].")
    insist_unique("The dataset", [d.name for d in datasets])
    insist_unique("The prefix of a dataset", [f"{d.binding} {d.prefix}" for d in datasets])
    return Policy(families, tuple(datasets))


def _dataset(table: TomlTable, families: Sequence[key_families.FamilyDefinition]) -> DatasetDefinition:
    dataset = DatasetDefinition(
        name=table.text("name", pattern=r"[a-z0-9][a-z0-9_-]*", takes="takes a-z, 0-9, - and _", longest=60),
        binding=_binding(table, "binding"),
        prefix=table.text("prefix", longest=512),
        database=_binding(table, "database"),
        table=table.text("table", pattern=COLUMN, takes="takes the name of a table"),
        key=table.text("key"),
        fields=table.pairs("fields"),
        ignore=table.texts("ignore"),
        only_in_d1=table.choice("only_in_d1", list(Dataset.OnlyInD1), Dataset.OnlyInD1.BLOCK),
    )
    if wrong := [column for column in dataset.fields.values() if not re.fullmatch(COLUMN, column)]:
        raise table.refuse("fields", f"{wrong[0]!r} is not the name of a column.")
    if both := dataset.fields.keys() & set(dataset.ignore):
        raise table.refuse("ignore", f"{min(both)!r} is one of `fields`; it is either compared or ignored.")
    _insist_key(table, dataset)
    if not any(f.binding == dataset.binding and not f.exact and dataset.prefix.startswith(f.pattern) for f in families):
        raise table.refuse("prefix", f"no [[family]] of {dataset.binding} covers it.")
    return dataset


def _binding(table: TomlTable, field: str) -> str:
    return table.text(field, pattern=BINDING, takes="takes the name of a binding")


def _insist_key(table: TomlTable, dataset: DatasetDefinition) -> None:
    """The key's template starts with the prefix and is made of columns, so that it names one key per row."""
    try:
        pieces = list(Formatter().parse(dataset.key))
    except ValueError as error:
        raise table.refuse("key", f"is not well-formed: {error}.") from error
    columns = [name for _, name, _, _ in pieces if name is not None]
    if any(spec or conversion for _, _, spec, conversion in pieces):
        raise table.refuse("key", "may not format its columns.")
    if not columns or not all(re.fullmatch(COLUMN, column) for column in columns):
        raise table.refuse("key", "takes the key's name with columns in braces, such as master:{type}:{id}.")
    if any(not text and index for index, (text, _, _, _) in enumerate(pieces)):
        raise table.refuse("key", "needs text between two columns, or two rows could stand for one key.")
    if not pieces[0][0].startswith(dataset.prefix):
        raise table.refuse("key", "must begin with the prefix.")


def policy_in_force() -> Policy:
    """The families and datasets in force."""
    fields = list(DatasetDefinition.__dataclass_fields__)
    datasets = [
        DatasetDefinition(**{**row, "ignore": tuple(row["ignore"])})
        for row in Dataset.objects.order_by("name").values(*fields)
    ]
    return Policy(key_families.families_in_force(), tuple(datasets))


def apply_policy(text: str, *, actor: log.Actor) -> Applied | PreparedChange:
    """Put the policy of a TOML text in force, or prepare the change for a second person.

    Raises DefinitionRefused and its kinds DatasetInUse and key_families.FamilyInUse, and approvals.ApprovalRefused.
    """
    wanted = parse_policy(text)
    found = differences(policy_in_force().things(), wanted.things())
    if PolicyVersion.objects.exists():
        if not found:
            return Applied(())
        with log.transaction():  # a rehearsal: what the database refuses is better known before a reviewer decides
            _write(wanted)
            transaction.set_rollback(True)
        return prepared_changes.prepare_change(
            ApprovalRequest.Kind.POLICY, definition=wanted.as_data(), summary=found, actor=actor
        )
    with log.transaction():
        _lock()
        if PolicyVersion.objects.exists():
            raise DefinitionRefused("Somebody else applied a policy just now. Apply yours again.")
        _put_in_force(wanted, found, actor)
    return Applied(tuple(found))


def use_change(request: ApprovalRequest, *, by: Person) -> Applied:
    """Put an approved change in force. Raises ApprovalRefused and the kinds of DefinitionRefused."""
    change = PreparedChange.objects.get(approval=request)
    wanted = policy_of_table(TomlTable(json.loads(change.definition)))
    with log.transaction():
        _lock()
        found = differences(policy_in_force().things(), wanted.things())
        prepared_changes.claim_change(change, by=by)
        _put_in_force(wanted, found, by.actor)
    return Applied(tuple(found))


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("LOCK TABLE kvops_policyversion IN SHARE ROW EXCLUSIVE MODE")


def _put_in_force(wanted: Policy, found: Sequence[str], actor: log.Actor) -> None:
    _write(wanted)
    text = evidence.canonical_evidence(wanted.as_data())
    version = PolicyVersion.objects.create(
        number=(PolicyVersion.objects.aggregate(last=Max("number"))["last"] or 0) + 1,
        digest=evidence.digest_of(text),
        definition=text,
        applied_by=actor.text,
    )
    log.record(
        Action.POLICY_APPLIED,
        actor=actor,
        subject=f"policy:{version.number}",
        digest=version.digest,
        details={"changes": for_the_audit_log(found)},
    )


def _write(wanted: Policy) -> None:
    key_families.replace(wanted.families)
    for dataset in Dataset.objects.exclude(name__in=[d.name for d in wanted.datasets]):
        try:
            dataset.delete()
        except ProtectedError as error:
            sentence = _("The dataset %(name)s has integrity checks and cannot be left out.")
            raise DatasetInUse(say(sentence, name=dataset.name)) from error
    for definition in wanted.datasets:
        values = asdict(definition)
        Dataset.objects.update_or_create(name=values.pop("name"), defaults=values)
