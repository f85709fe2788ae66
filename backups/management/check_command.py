"""Shared by `verify_masters` and `verify`: compare the datasets of a file with D1, and report the differences.

With `--json` one object is printed: `ok` (bool) and `datasets`, by name. A dataset has `file` and `d1` (rows on each
side), `differences` (their number), and `only_in_d1` (rows of D1 that are not in the file, also if that is allowed).
It also has `check` (its id) and `details`, the first 100 differences as `{"key", "kind", "field"}`, with `row` if the
key holds many rows. Exit 0 when nothing differs, 1 if something does or could not be compared, 2 for bad usage.
"""

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.log import Actor
from backups.datasets import registry as dataset_registry
from backups.datasets.definition_parts import BadDataset
from backups.datasets.files import BadFile, DatasetFile
from backups.integrity import start as check_start
from backups.models import Check, Dataset
from kvops.models import Environment, Run
from kvops.runs import driver as run_driver
from kvops.wording import several

MAX_DETAILS = 100


class VerifyCommand(BaseCommand):
    """A command that compares a dataset file with D1."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the flags of both commands."""
        parser.add_argument("environment", metavar="ENV")
        parser.add_argument("--dataset", required=True, type=Path, metavar="FILE", help="the JSON to compare with D1")
        parser.add_argument("--json", action="store_true", help="print the result as one JSON object")

    def environment(self, slug: str) -> Environment:
        """The environment of that name; raises CommandError."""
        found = Environment.objects.filter(slug=slug).first()
        if found is None:
            known = ", ".join(Environment.objects.order_by("order").values_list("slug", flat=True)) or "none"
            raise CommandError(f"There is no environment {slug!r}. Known: {known}.", returncode=2)
        return found

    def mentioned(self, path: Path, database: str) -> list[str]:
        """The names of the datasets in the file, all in one D1 database; raises CommandError."""
        if not path.is_file():
            raise CommandError(f"There is no file {path}.", returncode=2)
        try:
            return [rule.name for rule in DatasetFile(path, dataset_registry.of_database(database)).mentioned()]
        except (BadFile, BadDataset) as error:
            raise CommandError(str(error)) from error

    def verify(self, environment: Environment, names: Sequence[str], options: dict[str, Any]) -> None:
        """Compare, print, and raise CommandError unless everything is equal."""
        checks = [
            self._compare(environment, dataset, options["dataset"])
            for dataset in Dataset.objects.filter(name__in=names).order_by("name")
        ]
        if options["json"]:
            ok = all(check.differences == 0 for check in checks)
            self.stdout.write(json.dumps({"ok": ok, "datasets": {c.dataset.name: _facts(c) for c in checks}}))
        else:
            for check in checks:
                self.stdout.write(_in_words(check))
        if differences := sum(check.differences for check in checks):
            raise CommandError(
                f"{several(differences, 'difference')}. Delete nothing: find the cause, export and load again, and "
                "verify again."
            )

    def _compare(self, environment: Environment, dataset: Dataset, path: Path) -> Check:
        try:
            check = check_start.start_file_check(environment, dataset, path, actor=Actor.command())
        except check_start.CheckRefused as refused:
            raise CommandError(str(refused)) from refused
        run = check.run
        for run in run_driver.drive_to_the_end(check.run):
            if self.stderr.isatty():
                self.stderr.write(f"{dataset.name}: {several(run.done, 'row')} read. {run.note}")
        if run.state != Run.State.SUCCEEDED:
            raise CommandError(f"{dataset.name} could not be compared: {run.error or run.get_state_display()}")
        return Check.objects.select_related("dataset").get(pk=check.pk)


def _facts(check: Check) -> dict[str, object]:
    return {
        "file": check.keys,
        "d1": check.rows,
        "differences": check.differences,
        "only_in_d1": check.only_in_d1,
        "check": check.pk,
        "details": [
            {"key": each.name, **({"row": each.row} if each.row else {}), "kind": each.kind, "field": each.field}
            for each in check.found.order_by("name", "row", "kind", "field")[:MAX_DETAILS]
        ],
    }


def _in_words(check: Check) -> str:
    differing = several(check.differences, "difference")
    lines = [f"{check.dataset.name}: {check.keys} in the file, {check.rows} in D1, {differing}."]
    found = check.found.order_by("name", "row", "kind", "field")[:MAX_DETAILS]
    lines += [f"  {each.name} {each.row}".rstrip() + f": {each.label} {each.field}".rstrip() for each in found]
    if check.differences > len(found):
        lines.append(f"  … and {check.differences - len(found)} more (check {check.pk}).")
    lines.append("  No key of KV was compared: this says nothing about KV.")
    return "\n".join(lines)
