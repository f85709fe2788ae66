"""Datasets: the D1 table that a family corresponds to, and the digest of the rule a check was made by."""

from audit.chain import JSON
from backups.datasets.mapping import Correspondence
from backups.datasets.type_rules import DEFAULT
from backups.models import Dataset
from kvops.approvals import evidence
from kvops.models import Database, Environment
from kvops.refusals import Sentence as _


class NoDatabase(Exception):
    """The environment does not have the database that the dataset names."""


def definition(dataset: Dataset) -> dict[str, JSON]:
    """Every part of the dataset that affects the meaning of a check; the same in every environment.

    Parts that were added later are there only if they say something, so that the digest of an older dataset stays.
    """
    later: dict[str, JSON] = {
        "holds": "" if dataset.holds == Dataset.Holds.ROW else dataset.holds,
        "path": dataset.path,
        "row": dataset.row,
        "beside": sorted(dataset.beside),
        "field_rules": {field: sorted(rules) for field, rules in sorted(dataset.field_rules.items())},
        "migrated_at": dict(sorted(dataset.migrated_at.items())),
        "newer_by": dict(sorted(dataset.newer_by.items())),
        "orphans": sorted(dataset.orphans),
    }
    if sorted(dataset.rules) != sorted(DEFAULT):
        later["rules"] = sorted(dataset.rules)
    return {name: value for name, value in later.items() if value or name == "rules"} | {
        "name": dataset.name,
        "binding": dataset.binding,
        "prefix": dataset.prefix,
        "database": dataset.database,
        "table": dataset.table,
        "key": dataset.key,
        "fields": dataset.fields,
        "ignore": sorted(dataset.ignore),
        "only_in_d1": dataset.only_in_d1,
    }


def definition_digest(dataset: Dataset) -> str:
    """SHA-256 of the definition, in hex."""
    return evidence.digest_of(evidence.canonical_evidence(definition(dataset)))


def correspondence(dataset: Dataset) -> Correspondence:
    """The dataset's rule; raises mapping.BadDataset if the definition cannot be used."""
    return Correspondence.of(definition(dataset))


def of_database(binding: str) -> list[Correspondence]:
    """The rules of all datasets in a D1 database; raises mapping.BadDataset."""
    return [correspondence(dataset) for dataset in Dataset.objects.filter(database=binding).order_by("name")]


def dataset_for(binding: str, prefix: str) -> Dataset | None:
    """The dataset with the longest prefix that equals `prefix` or contains it; a single key is covered by its name."""
    found = (one for one in Dataset.objects.filter(binding=binding) if one.covers(prefix))
    return max(found, key=lambda one: len(one.prefix), default=None)


def environment_database(environment: Environment, dataset: Dataset) -> Database:
    """The D1 database of the dataset in this environment; raises NoDatabase."""
    try:
        return environment.databases.get(binding=dataset.database)
    except Database.DoesNotExist as error:
        sentence = _(
            "%(environment)s has no D1 database bound as %(database)s, which dataset %(name)s names. "
            "Add it to the environment.",
            environment=environment.name,
            database=dataset.database,
            name=dataset.name,
        )
        raise NoDatabase(sentence) from error
