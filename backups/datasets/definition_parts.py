"""The parts of a dataset's stored definition, each checked. Pure: no Django."""

from collections.abc import Mapping

from backups.datasets.type_rules import DEFAULT, BadRules, TypeRules
from kvops.refusals import Sentence, Sentence as _


class BadDataset(ValueError):
    """The definition of a dataset cannot be used; the message gives the correction."""

    def __init__(self, name: object, problem: Sentence | ValueError) -> None:
        super().__init__(_("Dataset %(name)s: %(problem)s.", name=name, problem=problem))


def rules_of(definition: Mapping[str, object], fields: Mapping[str, str]) -> dict[str, TypeRules]:
    """The type rules of each field. Raises BadRules."""
    everywhere, special = definition.get("rules", list(DEFAULT)), definition.get("field_rules", {})
    if not isinstance(everywhere, list) or not isinstance(special, dict):
        raise BadRules(_("rules is a list of type rules, and field_rules has such a list for a field"))
    if unknown := sorted(special.keys() - fields.keys()):
        raise BadRules(_("field_rules names %(unknown)s, which is not compared", unknown=repr(unknown[0])))
    return {member: TypeRules.of([str(name) for name in special.get(member, everywhere)]) for member in fields}


def text_of(definition: Mapping[str, object], member: str) -> str:
    """A text that must be there. Raises BadDataset."""
    value = definition.get(member)
    if not isinstance(value, str) or not value:
        raise BadDataset(definition.get("name"), _("%(member)s is missing", member=member))
    return value


def pairs_of(name: str, definition: Mapping[str, object]) -> dict[str, str]:
    """The column of each field. Raises BadDataset."""
    fields = definition.get("fields")
    if not isinstance(fields, dict) or not all(isinstance(text, str) for pair in fields.items() for text in pair):
        raise BadDataset(name, _("fields must name a column for each JSON field"))
    return fields


def texts_of(name: str, definition: Mapping[str, object], member: str) -> list[str]:
    """The fields in a list; none if it is absent. Raises BadDataset."""
    found = definition.get(member, [])
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise BadDataset(name, _("%(member)s must be a list of JSON fields", member=member))
    return found
