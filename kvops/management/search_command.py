"""Shared by the commands that store a search for code references."""

import json
from argparse import ArgumentParser
from collections import Counter
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.log import Actor
from kvops.models import Environment
from kvops.references import look, store as reference_store
from kvops.references.report import Report
from kvops.wording import several


class SearchCommand(BaseCommand):
    """A command that has a report of a search for an environment, stores it and prints the outcome."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the environment and the form of the outcome."""
        parser.add_argument("environment", metavar="ENV")
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def environment(self, slug: str) -> Environment:
        """The environment; a CommandError with the existing ones if there is none of that name."""
        found = Environment.objects.filter(slug=slug).first()
        if found is None:
            known = ", ".join(Environment.objects.order_by("order").values_list("slug", flat=True))
            raise CommandError(
                f"There is no environment {slug}. Known are: {known or 'none yet, run apply_environments first'}.",
                returncode=2,
            )
        return found

    def store(self, environment: Environment, report: Report, options: dict[str, Any], **more: str) -> None:
        """Store the report and print the outcome."""
        look.ask_when_due(environment)
        try:
            search = reference_store.store(environment, report, by=Actor.command(), **more)
        except reference_store.SearchUnusable as refused:
            raise CommandError(str(refused)) from refused
        self.tell(
            report,
            options,
            f"It was stored before, as search {search.pk}."
            if search.seen_before
            else f"Stored as search {search.pk}: /references/{environment.slug}/{search.pk}/",
            search=search.pk,
            stored=not search.seen_before,
        )

    def tell(self, report: Report, options: dict[str, Any], sentence: str, **more: object) -> None:
        """Print the counts of the report, and the sentence or the further fields."""
        hits, slug = Counter(hit.certainty for hit in report.hits), options["environment"]
        if options["json"]:
            facts = {
                "environment": slug,
                "commit": report.commit,
                "files": report.files,
                "unparsed": len(report.unparsed),
                "hits": {certainty: hits[certainty] for certainty in ("certain", "possible", "unknown")},
                "digest": reference_store.digest_of(report),
            }
            self.stdout.write(json.dumps({**facts, "search": None, "stored": False, "output": None, **more}))
            return
        self.stdout.write(
            f"{slug}: {several(len(report.hits), 'hit')} in {several(report.files, 'file')} "
            f"({hits['certain']:,} certain, {hits['possible']:,} possible, {hits['unknown']:,} that cannot be told)"
        )
        if report.unparsed:
            self.stdout.write(f"  files that could not be parsed: {len(report.unparsed):,}; look into them by hand")
        self.stdout.write(f"  {sentence}")


def read_file(path: Path, most: int) -> bytes:
    """The content of a file, at most one byte more than `most`; a CommandError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.", returncode=2) from error
