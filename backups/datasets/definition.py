"""One `[[dataset]]` of a policy, read strictly: nothing is guessed and nothing is ignored."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, Self

from backups.datasets.definition_parts import BadDataset
from backups.datasets.mapping import Correspondence
from backups.datasets.newer import TYPES, is_zone, moment_of
from backups.datasets.type_rules import RULES
from backups.models import Dataset
from backups.models.datasets import DEFAULT_RULES
from kvops.environments.definition import BINDING
from kvops.environments.toml import TomlTable
from kvops.inventory.families import FamilyDefinition

COLUMN = r"[A-Za-z_][A-Za-z0-9_]{0,99}"


@dataclass(frozen=True)
class DatasetDefinition:
    """One `[[dataset]]`; the fields are those of the model."""

    name: str
    binding: str
    prefix: str
    database: str
    table: str
    key: str
    holds: str
    path: str
    row: str
    fields: dict[str, str]
    ignore: tuple[str, ...]
    beside: tuple[str, ...]
    rules: tuple[str, ...]
    field_rules: dict[str, list[str]]
    only_in_d1: str
    migrated_at: dict[str, str]
    newer_by: dict[str, list[str]]
    orphans: tuple[str, ...]

    @classmethod
    def stored(cls, row: Mapping[str, Any]) -> Self:
        """The definition in a row of the table."""
        values: dict[str, Any] = {name: tuple(of) if isinstance(of, list) else of for name, of in row.items()}
        return cls(**values)


def read_dataset(table: TomlTable, families: Sequence[FamilyDefinition]) -> DatasetDefinition:
    """The dataset of a table. Raises DefinitionRefused."""
    fields = table.pairs("fields")
    dataset = DatasetDefinition(
        name=table.text("name", pattern=r"[a-z0-9][a-z0-9_-]*", takes="takes a-z, 0-9, - and _", longest=60),
        binding=_binding(table, "binding"),
        prefix=table.text("prefix", longest=512),
        database=_binding(table, "database"),
        table=table.text("table", pattern=COLUMN, takes="takes the name of a table"),
        key=table.text("key"),
        holds=table.choice("holds", list(Dataset.Holds), Dataset.Holds.ROW),
        path=table.text("path", ""),
        row=table.text("row", ""),
        fields=fields,
        ignore=table.texts("ignore"),
        beside=table.texts("beside"),
        rules=_rules(table, "rules", table.texts("rules", DEFAULT_RULES)),
        field_rules={
            field: list(_rules(table, "field_rules", names)) for field, names in table.lists("field_rules").items()
        },
        only_in_d1=table.choice("only_in_d1", list(Dataset.OnlyInD1), Dataset.OnlyInD1.BLOCK),
        migrated_at=table.pairs("migrated_at", {}),
        newer_by={slug: list(parts) for slug, parts in table.lists("newer_by").items()},
        orphans=table.texts("orphans"),
    )
    if wrong := [column for column in dataset.fields.values() if not re.fullmatch(COLUMN, column)]:
        raise table.refuse("fields", f"{wrong[0]!r} is not the name of a column.")
    if both := dataset.fields.keys() & set(dataset.ignore):
        raise table.refuse("ignore", f"{min(both)!r} is one of `fields`; it is either compared or ignored.")
    _insist_names(table, dataset)
    _insist_newer(table, dataset)
    _insist_usable(table, dataset)
    if not any(family.binding == dataset.binding and _covers(family, dataset) for family in families):
        raise table.refuse("prefix", f"no [[family]] of {dataset.binding} covers it.")
    return dataset


def _binding(table: TomlTable, field: str) -> str:
    return table.text(field, pattern=BINDING, takes="takes the name of a binding")


def _rules(table: TomlTable, field: str, names: Sequence[str]) -> tuple[str, ...]:
    if unknown := [name for name in names if name not in RULES]:
        raise table.refuse(field, f"{unknown[0]!r} is no type rule. The rules are {', '.join(RULES)}.")
    return tuple(names)


def _covers(family: FamilyDefinition, dataset: DatasetDefinition) -> bool:
    if family.exact:
        return family.pattern == dataset.key == dataset.prefix
    return dataset.prefix.startswith(family.pattern)


def _insist_names(table: TomlTable, dataset: DatasetDefinition) -> None:
    """Check the templates of the key's name and of a row's id, so that each row has one place."""
    many = dataset.holds != Dataset.Holds.ROW
    if many and not dataset.row:
        raise table.refuse("row", 'is missing: it takes the id of a row in its key, such as "{id}".')
    if dataset.row and not many:
        raise table.refuse("row", "is for a key that `holds` an array or an object of rows.")
    if many and "{" not in dataset.key and dataset.key != dataset.prefix:
        raise table.refuse("key", "without a column is one key, and `prefix` must be its name.")
    head = _insist_template(table, "key", dataset.key, needs_column=not many)
    if not head.startswith(dataset.prefix):
        raise table.refuse("key", "must begin with the prefix.")
    if many:
        _insist_template(table, "row", dataset.row, needs_column=True)


def _insist_newer(table: TomlTable, dataset: DatasetDefinition) -> None:
    """Check the time of the move, the time stamp of a row, and the keys without a row."""
    if apart := dataset.migrated_at.keys() ^ dataset.newer_by.keys():
        raise table.refuse("newer_by", f"and `migrated_at` go together, and {min(apart)!r} has only one of them.")
    for slug, parts in dataset.newer_by.items():
        if len(parts) != 3 or not re.fullmatch(COLUMN, parts[0]) or parts[1] not in TYPES or not is_zone(parts[2]):
            takes = f"takes column, type ({', '.join(TYPES)}) and zone, such as ['updated_at', 'time', 'UTC']."
            raise table.refuse("newer_by", f"{slug} {takes}")
    for slug, text in dataset.migrated_at.items():
        try:
            moment_of(text)
        except ValueError as error:
            takes = "takes a time with its zone, such as 2025-09-01T00:00:00+09:00."
            raise table.refuse("migrated_at", f"{slug} {takes}") from error
    if strange := [name for name in dataset.orphans if not name.startswith(dataset.prefix)]:
        raise table.refuse("orphans", f"{strange[0]!r} does not begin with the prefix.")


def _insist_template(table: TomlTable, field: str, template: str, *, needs_column: bool) -> str:
    """Check a template over columns and return the text before the first column."""
    try:
        pieces = list(Formatter().parse(template))
    except ValueError as error:
        raise table.refuse(field, f"is not well-formed: {error}.") from error
    columns = [name for _, name, _, _ in pieces if name is not None]
    if any(spec or conversion for _, _, spec, conversion in pieces):
        raise table.refuse(field, "may not format its columns.")
    if (needs_column and not columns) or not all(re.fullmatch(COLUMN, column) for column in columns):
        example = "takes the key's name with columns in braces, such as master:{type}:{id}."
        raise table.refuse(field, example if field == "key" else "takes columns in braces, such as {id}.")
    if any(not text and index for index, (text, _, _, _) in enumerate(pieces)):
        raise table.refuse(field, "needs text between two columns, or two rows could stand for one key.")
    return pieces[0][0]


def _insist_usable(table: TomlTable, dataset: DatasetDefinition) -> None:
    """Check the paths, the ids and the combination of type rules."""
    lists = ("ignore", "beside", "rules", "orphans")
    try:
        Correspondence.of({**dataset.__dict__, **{name: list(getattr(dataset, name)) for name in lists}})
    except BadDataset as error:
        raise table.refuse("name", f"{error}") from error
    if dataset.beside and not dataset.path:
        raise table.refuse("beside", "names members beside the `path`, and there is none.")
