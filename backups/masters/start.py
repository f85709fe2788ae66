"""Starts a backup of master data, from D1 or the team's API."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups import archive
from backups.bucket import access as bucket_access
from backups.datasets import registry as dataset_registry
from backups.datasets.definition_parts import BadDataset
from backups.datasets.mapping import Correspondence
from backups.exports import plain_file
from backups.generations import scope, start as generation_start
from backups.generations.kv_reader import KvReader
from backups.generations.scope import BackupRefused
from backups.masters import api as masters_api
from backups.masters.rows import API, D1Source, MastersRows, collect_rows
from backups.models import Dataset, Generation
from kvops import rollback, timing
from kvops.models import Category, Database, Environment, Namespace, Person, Run
from kvops.prefixes import distinct
from kvops.refusals import Refused
from kvops.runs.outcomes import RunError
from kvops.schedules.jobs import Begun
from kvops.wording import english, say

FROM_D1 = "d1"


@dataclass(frozen=True)
class Masters:
    """The datasets of a backup, all in one database and one namespace; `known` are all datasets of that database."""

    namespace: Namespace
    database: Database
    datasets: Sequence[Correspondence]
    known: Sequence[Correspondence]

    @property
    def prefixes(self) -> list[str]:
        """The prefixes of the backup's keys."""
        return distinct([dataset.prefix for dataset in self.datasets])


@dataclass(frozen=True)
class TableCount:
    """A table and the number of its rows."""

    dataset: str
    table: str
    rows: int


@dataclass(frozen=True)
class MastersDump:
    """A file that was written; `bytes` counts the JSON of the rows."""

    keys: int
    bytes: int
    calls: int
    sha256: str
    path: Path
    tables: Sequence[TableCount]


def choose(environment: Environment, names: Collection[str] = ()) -> Masters:
    """The named datasets, by default all. Raises BackupRefused unless they share one database and one binding."""
    found = list(Dataset.objects.order_by("name"))
    if unknown := sorted(set(names) - {dataset.name for dataset in found}):
        names_of_all = ", ".join(dataset.name for dataset in found) or "–"
        sentence = _("There is no dataset %(name)s. Known: %(known)s.")
        raise BackupRefused(say(sentence, name=unknown[0], known=names_of_all))
    chosen = [dataset for dataset in found if not names or dataset.name in names]
    if not chosen:
        raise BackupRefused(_("The policy has no dataset, so the tables of D1 are undefined. Add a dataset first."))
    places = sorted({(dataset.database, dataset.binding) for dataset in chosen})
    if len(places) > 1:
        sentence = _(
            "These datasets are of several databases or bindings (%(places)s). Choose datasets of one of them."
        )
        raise BackupRefused(say(sentence, places=", ".join(f"{base}/{binding}" for base, binding in places)))
    here = Namespace.objects.select_related("environment")
    namespace = here.filter(environment=environment, binding=chosen[0].binding).first()
    if namespace is None:
        sentence = _("%(environment)s has no binding %(binding)s, which the datasets name.")
        raise BackupRefused(say(sentence, environment=environment.name, binding=chosen[0].binding))
    try:
        database = dataset_registry.environment_database(environment, chosen[0])
        known = dataset_registry.of_database(chosen[0].database)
    except (dataset_registry.NoDatabase, BadDataset) as error:
        raise BackupRefused(*error.args) from error
    wanted = {dataset.name for dataset in chosen}
    return Masters(namespace, database, [rule for rule in known if rule.name in wanted], known)


def insist_source(source: str) -> str:
    """The source in its stored form: `d1`, or `api:` and an allowed address. Raises BackupRefused."""
    if source == FROM_D1:
        return source
    if not source.startswith(API):
        raise BackupRefused(_("The source is “d1”, or “api:” and the address of the team’s API."))
    try:
        masters_api.insist_allowed(source.removeprefix(API), hosts=settings.KVOPS_MASTERS_API_HOSTS)
    except masters_api.SourceRefused as error:
        raise BackupRefused(*error.args) from error
    return source


def rows_by_table(masters: Masters, *, source: str = FROM_D1) -> list[TableCount]:
    """The current number of rows by table; the API is asked for all rows. Raises BackupRefused and CloudflareError."""
    insist_source(source)
    with KvReader(masters.namespace.environment, lambda: None, patient=True) as reader, MastersRows() as rows:
        d1 = D1Source(reader, masters.database.database_id, lambda _: None)
        if source == FROM_D1:
            return [TableCount(each.name, each.table, d1.count(each)) for each in masters.datasets]
        try:
            collect_rows(source, masters.datasets, masters.known, rows, d1)
        except RunError as error:
            raise BackupRefused(*error.args) from error
        return [TableCount(each.name, each.table, rows.counts[each.name]) for each in masters.datasets]


def create_export(
    masters: Masters,
    *,
    source: str = FROM_D1,
    actor: log.Actor,
    person: Person | None = None,
    foreground: bool = False,
) -> Generation:
    """Create a backup of the tables, in the caller's transaction. Raises BackupRefused and run_driver.AlreadyOpen."""
    log.insist()
    if why := rollback.why_read_only():
        raise BackupRefused(why)
    namespace, at = masters.namespace, generation_start.insist_time(masters.namespace)
    try:
        stem = bucket_access.masters_stem(namespace.environment, at)
    except archive.LayoutError as error:
        raise BackupRefused(*error.args) from error
    return generation_start.begin(
        Generation(
            namespace=namespace,
            prefixes=masters.prefixes,
            category=Category.LEGACY,
            patterns=[f"{rule.name}: {masters.database.binding}.{rule.table}" for rule in masters.datasets],
            purpose=Generation.Purpose.MASTERS,
            source=insist_source(source),
            tables=[_table(masters, rule) for rule in masters.datasets],
            stem=stem,
            started_at=at,
            retain_until=at + timedelta(days=timing.RETENTION_DAYS),
        ),
        actor=actor,
        person=person,
        foreground=foreground,
        kind=Run.Kind.MASTERS,
    )


start_export = log.transaction()(create_export)
"""`create_export` in a transaction of its own."""


def _table(masters: Masters, rule: Correspondence) -> dict[str, object]:
    """The backup's description of a table: its database, and the member of a row's JSON for each column."""
    return {
        "dataset": rule.name,
        "prefix": rule.prefix,
        "database": masters.database.binding,
        "database_id": masters.database.database_id,
        "table": rule.table,
        "fields": dict(rule.fields),
        "holds": rule.shape.holds,
        "path": list(rule.shape.path),
        "rows": None,
    }


def scheduled(environment: Environment, actor: log.Actor) -> Begun:
    """The job of a schedule: back up all datasets from D1, if there are any."""
    begun = Begun()
    if Dataset.objects.exists():
        with begun.or_refused():
            begun.runs.append(create_export(choose(environment), actor=actor).run)
    return begun


def write(
    masters: Masters, *, source: str = FROM_D1, path: Path, actor: log.Actor, progress: Callable[[str], None]
) -> MastersDump:
    """Write the rows to a new file, all or nothing, readable by its owner only.

    Raises BackupRefused, plain_file.PathRefused, CloudflareError and OSError.
    """
    insist_source(source)
    _insist_plain(masters)
    plain_file.insist_free(path)
    with (
        plain_file.ended_tidily(),
        KvReader(masters.namespace.environment, lambda: None, patient=True) as reader,
        MastersRows() as rows,
        plain_file.PlainFile(path) as file,
    ):
        d1 = D1Source(reader, masters.database.database_id, lambda table: progress(f"Reading {table.table}"))
        try:
            collect_rows(source, masters.datasets, masters.known, rows, d1)
        except RunError as error:
            raise BackupRefused(*error.args) from error
        for _, entry in rows.entries():
            file.add(entry)
        plain_file.publish(masters.namespace, masters.prefixes, [file], actor)
        tables = [TableCount(each.name, each.table, rows.counts[each.name]) for each in masters.datasets]
        return MastersDump(len(rows), rows.bytes, reader.client.calls, file.sha256, path, tables)


def _insist_plain(masters: Masters) -> None:
    """Raise BackupRefused if a family of these rows must be encrypted."""
    for family in scope.reached(masters.namespace, masters.prefixes):
        if family.encrypt:
            sentence = _("%(family)s must be backed up encrypted, never to a plain file. Export it with --to-r2.")
            raise BackupRefused(say(sentence, family=family))


def record_refusal_of_masters(environment: Environment, refusal: Refused, *, actor: log.Actor) -> None:
    """Record the refusal of a backup; the caller reports it."""
    log.refusal(
        Action.DUMP_REFUSED,
        actor=actor,
        environment=environment.slug,
        subject_label="masters",
        details={"reason": english(refusal)[:500]},
    )
