"""Starts integrity checks: a backup, or a dataset file, against D1. `live` starts those of KV as it is now."""

import socket
from hashlib import file_digest
from pathlib import Path
from secrets import token_hex

from django.db.models import Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups.datasets import registry as dataset_registry
from backups.datasets.definition_parts import BadDataset
from backups.datasets.mapping import Correspondence
from backups.generations.routine import newest
from backups.integrity.run import CheckComparison, CheckProgress
from backups.models import Check, CheckRow, Dataset, Generation
from kvops.approvals import evidence
from kvops.models import Environment, Namespace, Person, Run
from kvops.refusals import Refused
from kvops.runbook import procedures
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, RunError
from kvops.schedules.jobs import Begun
from kvops.wording import say

CHECKABLE = (Generation.Status.COMPLETE, Generation.Status.VERIFIED)


class CheckRefused(Refused):
    """The check cannot be made; the message is one sentence with the next step."""


def start_checks(generation: Generation, *, actor: log.Actor, person: Person | None = None) -> list[Check]:
    """Start the comparison of a backup with D1: for master data, one check per table.

    Raises CheckRefused and run_driver.AlreadyOpen.
    """
    with log.transaction():
        found = datasets_of(generation)
        return [create_check(generation, dataset=each, actor=actor, person=person) for each in found]


def create_check(
    generation: Generation,
    *,
    dataset: Dataset | None = None,
    subject: str = "",
    actor: log.Actor,
    person: Person | None = None,
    foreground: bool = False,
) -> Check:
    """Create a check within the caller's `audit.log.transaction()`.

    By default it compares by the one dataset that covers the backup, and the subject of its run is the backup.
    """
    log.insist()
    dataset = dataset or dataset_of(generation)
    of_masters = generation.purpose == Generation.Purpose.MASTERS
    of_backup = f"generation:{generation.pk}/{dataset.name}" if of_masters else f"generation:{generation.pk}"
    run = run_driver.create(
        Run.Kind.CHECK,
        subject=subject or of_backup,
        label=f"{dataset.name}: {generation.stem}"[:300],
        actor=actor,
        person=person,
        environment=generation.environment,
        foreground=foreground,
    )
    return create(run, dataset, generation.environment, actor, generation=generation, source=generation.stem)


def start_file_check(environment: Environment, dataset: Dataset, path: Path, *, actor: log.Actor) -> Check:
    """Start the comparison of a dataset file with D1; this process must run it to its end. Raises CheckRefused."""
    insist_usable(dataset, environment)
    try:
        with path.open("rb") as file:
            digest = file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckRefused(f"{path} cannot be read ({error.strerror}).") from error
    with log.transaction():
        run = run_driver.create(
            Run.Kind.CHECK,
            # Such checks may run at the same time: each has rows of its own, and a killed command must not block
            # another.
            subject=f"dataset:{environment.pk}/{dataset.pk}:{token_hex(4)}",
            label=f"{dataset.name}: {path.name}"[:300],
            actor=actor,
            environment=environment,
            foreground=True,
        )
        where: dict[str, JSON] = {"host": socket.gethostname(), "sha256": digest}
        return create(run, dataset, environment, actor, source=str(path.resolve()), where=where)


def run_check(lease: Lease) -> Again | None:
    """One step of a check that is a run of its own."""
    check = _load(Check.objects.get(run=lease.run).pk)
    comparison = CheckComparison(lease, check, CheckProgress.read(lease.run.cursor), within_another_run=False)
    return None if comparison.step() else Again()


def recheck(lease: Lease, generation: Generation) -> Check | None:
    """The same comparison within another run: each call does one step and returns None until the check is finished.

    The progress is under "check" in the run's cursor; the rest of the cursor stays. The call that ends the check
    returns it, and the next call starts a new check. Raises RunError.
    """
    if "check" not in lease.run.cursor:
        _begin_recheck(lease, generation)
    mine = lease.run.cursor["check"]
    comparison = CheckComparison(
        lease, _load(mine["id"]), CheckProgress.read(mine["progress"]), within_another_run=True
    )
    if not comparison.step():
        return None
    comparison.check.refresh_from_db()
    return comparison.check


def _begin_recheck(lease: Lease, generation: Generation) -> None:
    with lease.checkpoint():
        try:
            dataset = dataset_of(generation)
        except CheckRefused as refused:
            raise RunError("cannot_check", refused) from refused
        check = create(
            lease.run, dataset, generation.environment, lease.actor, generation=generation, source=generation.stem
        )
        lease.renew(cursor={**lease.run.cursor, "check": {"id": check.pk, "progress": {}}})


def datasets_of(generation: Generation) -> list[Dataset]:
    """The datasets for the check of a backup: those of its rows, or the one that covers it. Raises CheckRefused."""
    if generation.purpose != Generation.Purpose.MASTERS:
        return [dataset_of(generation)]
    _insist_checkable(generation)
    found = list(Dataset.objects.filter(name__in=[table["dataset"] for table in generation.tables]).order_by("name"))
    if not found:
        raise CheckRefused(_("The policy no longer has any of the datasets of this backup."))
    for dataset in found:
        insist_usable(dataset, generation.environment)
    return found


def _insist_checkable(generation: Generation) -> None:
    if generation.status not in CHECKABLE:
        sentence = _("Backup %(pk)s cannot be checked; only a complete backup can. It is: %(status)s.")
        raise CheckRefused(say(sentence, pk=generation.pk, status=Generation.Status(generation.status).label))


def dataset_of(generation: Generation) -> Dataset:
    """The one dataset that covers the backup. Raises CheckRefused."""
    _insist_checkable(generation)
    binding = generation.namespace.binding
    found = {dataset_registry.dataset_for(binding, prefix) for prefix in generation.prefixes}
    dataset = found.pop() if len(found) == 1 else None
    if dataset is None:
        prefixes = ", ".join(generation.shown_prefixes)
        sentence = _(
            "No single dataset covers %(prefixes)s of %(binding)s: add one to the policy, or back up one family."
        )
        raise CheckRefused(say(sentence, prefixes=prefixes, binding=binding))
    insist_usable(dataset, generation.environment)
    return dataset


def insist_usable(dataset: Dataset, environment: Environment) -> None:
    """Raise CheckRefused unless the dataset can be compared in this environment."""
    try:
        dataset_registry.correspondence(dataset)
        dataset_registry.environment_database(environment, dataset)
    except (BadDataset, dataset_registry.NoDatabase) as error:
        raise CheckRefused(*error.args) from error


def create(
    run: Run,
    dataset: Dataset,
    environment: Environment,
    actor: log.Actor,
    *,
    source: str,
    generation: Generation | None = None,
    namespace: Namespace | None = None,
    where: dict[str, JSON] | None = None,
) -> Check:
    """Create a check of a run, with its audit entry, within the caller's `audit.log.transaction()`.

    The check keeps the current rule, so a later change of the dataset has no effect.
    """
    _forget_abandoned(dataset, environment)
    definition = dataset_registry.definition(dataset)
    check = Check.objects.create(
        environment=environment,
        dataset=dataset,
        definition=definition,
        definition_digest=evidence.digest_of(evidence.canonical_evidence(definition)),
        rules=dict.fromkeys(Correspondence.of(definition).named_rules, 0),
        generation=generation,
        namespace=namespace,
        source=source[:1000],
        run=run,
    )
    details: dict[str, JSON] = {"dataset": dataset.name, "source": check.source, **(where or {})}
    if generation is not None:
        details |= {"generation": generation.pk, "manifest_sha256": generation.manifest_sha256}
    if generation is None or generation.purpose != Generation.Purpose.CLEANUP:  # else it is a step of the clean-up
        details |= procedures.begun("integrity_check", dataset.binding, [dataset.prefix])
    log.record(Action.CHECK_STARTED, actor=actor, **check.audited, digest=check.definition_digest, details=details)
    return check


def _forget_abandoned(dataset: Dataset, environment: Environment) -> None:
    """Delete the staged rows of earlier checks without a working run. A resumed check notices and starts over."""
    over = Q(check_run__run__state__in=Run.RESUMABLE)
    killed = Q(check_run__run__foreground=True, check_run__run__lease_until__lt=Now())
    CheckRow.objects.filter(over | killed, check_run__dataset=dataset, check_run__environment=environment).delete()


def _load(pk: int) -> Check:
    return Check.objects.select_related("environment", "dataset", "generation", "namespace__environment").get(pk=pk)


def check_newest(environment: Environment, actor: log.Actor) -> Begun:
    """Compare the newest verified backup of each dataset's keys with D1."""
    begun = Begun()
    for generation in newest(environment):
        covered = [dataset_registry.dataset_for(generation.namespace.binding, prefix) for prefix in generation.prefixes]
        if generation.status == Generation.Status.VERIFIED and all(covered):
            with begun.or_refused():
                begun.runs.append(create_check(generation, actor=actor).run)
    return begun
