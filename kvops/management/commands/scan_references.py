"""Search a checkout for code references to the families of the policy in force.

The search is stored, or with `--output` only written to a file, which `import_references` takes. With `--policy` the
families are those of a file: then `--output` needs no database and no setting, as in CI. Exit 0 if it is stored or
written, 1 if it is refused or failed, 2 for bad usage. `--json` prints one object: `environment`, `commit`, `files`,
`unparsed`, `hits` (`certain`, `possible`, `unknown`), `digest`, `search` (its number, or null), `stored` (false if it
was stored before, or only written) and `output` (the file, or null).
"""

from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from django.core.management.base import CommandError

from kvops import clock
from kvops.management.search_command import SearchCommand
from kvops.models import Family, ReferenceSearch
from kvops.references import lint
from kvops.references.report import LONGEST_REPOSITORY, Report, ReportRefused, dumps, insist_bounded
from kvops.references.search import Pattern, SearchRefused, search_path


class Command(SearchCommand):
    help = "Searches a checkout for code that uses keys, and stores the hits."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--path", type=Path, required=True, metavar="DIR", help="the checkout")
        parser.add_argument("--commit", default="", metavar="SHA", help="the commit of the checkout, if .git has none")
        parser.add_argument("--repository", default="", metavar="NAME", help="its repository, if .git names no origin")
        parser.add_argument("--deployment", default="", metavar="ID", help="noted in the audit log")
        parser.add_argument("--policy", type=Path, metavar="FILE", help="with --output: a policy, without a database")
        parser.add_argument("--output", type=Path, metavar="FILE", help="only write the hits to this file")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["policy"]:
            self._search_alone(options)
            return
        environment = self.environment(options["environment"])
        families = Family.objects.values_list("binding", "pattern", "exact", "category")
        patterns = [Pattern(*family) for family in families]
        if not patterns:
            raise CommandError("There is no policy in force, so no family can be searched for. Run apply_policy first.")
        report = _searched(patterns, options, clock.now())
        if options["output"]:
            self._write(report, options)
            return
        self.store(
            environment,
            report,
            options,
            source=ReferenceSearch.Source.CHECKOUT,
            place=str(options["path"].resolve()),
            deployment=options["deployment"],
        )

    def _search_alone(self, options: dict[str, Any]) -> None:
        """Search for the families of a file, and write the hits. The database and its clock are not asked."""
        if not options["output"]:
            raise CommandError(
                "--policy goes with --output. A search that is stored has the policy in force.", returncode=2
            )
        try:
            patterns = lint.read_patterns(options["policy"])
        except lint.LintRefused as refused:
            raise CommandError(str(refused), returncode=2) from refused
        self._write(_searched(patterns, options, datetime.now(UTC)), options)

    def _write(self, report: Report, options: dict[str, Any]) -> None:
        _write(options["output"], report)
        output = str(options["output"])
        self.tell(report, options, f"Written to {output}; nothing is stored.", output=output)


def _searched(patterns: Sequence[Pattern], options: dict[str, Any], at: datetime) -> Report:
    named = {"commit": options["commit"], "repository": options["repository"][:LONGEST_REPOSITORY]}
    try:
        return search_path(options["path"], patterns, at=at, **named)
    except SearchRefused as refused:
        raise CommandError(str(refused)) from refused


def _write(path: Path, report: Report) -> None:
    """Write the file in one piece: a reader finds it whole or not at all."""
    content = dumps(report)
    try:
        insist_bounded(content)
    except ReportRefused as refused:
        raise CommandError(f"{refused} Search less at once.") from refused
    try:
        with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            part = Path(file.name)
            try:
                file.write(content)
                file.flush()
                part.chmod(0o644)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.", returncode=2) from error
