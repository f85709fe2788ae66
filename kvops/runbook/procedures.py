"""The procedures of the policy's operations, which the features name. A changed one is a new version beside the old.

The entry of the audit log that begins an operation names the procedure and its version at that time (`begun`).
"""

from collections.abc import Iterable, Sequence

from audit.chain import JSON
from kvops.inventory import families as key_families
from kvops.models import Family
from kvops.operations.parts import Procedure
from kvops.operations.registry import PROCEDURES


def current() -> list[Procedure]:
    """The newest version of each procedure, by its title in the reader's language."""
    return sorted((versions[-1] for versions in PROCEDURES.values()), key=lambda one: str(one.title))


def named(name: object, version: object) -> Procedure | None:
    """The procedure that an entry names; None if this version of the code does not know it."""
    versions = PROCEDURES.get(name, ()) if isinstance(name, str) else ()
    return next((one for one in versions if one.version == version), None)


def begun(name: str, binding: str, prefixes: Sequence[str]) -> dict[str, JSON]:
    """The details of the audit entry that begins an operation: the procedure, its version, and the families."""
    return begun_over(name, [(binding, prefixes)])


def begun_over(name: str, scopes: Iterable[tuple[str, Sequence[str]]]) -> dict[str, JSON]:
    """As `begun`, for an operation over several backups: the binding and the prefixes of each."""
    families: list[JSON] = [*dict.fromkeys(family for scope in scopes for family in _families(*scope))]
    return {"procedure": name, "version": PROCEDURES[name][-1].version, "families": families}


def _families(binding: str, prefixes: Sequence[str]) -> list[str]:
    ours = list(Family.objects.filter(binding=binding).order_by("pattern"))
    owners = key_families.Families(ours)
    found = {owner for prefix in prefixes if (owner := owners.family(prefix))}
    found |= {family for family in ours for prefix in prefixes if family.pattern.startswith(prefix)}
    return [f"{binding} {family}" for family in ours if family in found]
