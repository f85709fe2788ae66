"""Store the file of a search for code references that was made elsewhere.

Exit 0 if it is stored or was stored before, 1 if the file is refused, 2 for bad usage. `--json` prints one object:
`environment`, `commit`, `files`, `unparsed`, `hits` (`certain`, `possible`, `unknown`), `digest`, `search` (its
number), `stored` (false if it was stored before) and `output` (null).
"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from kvops.management.search_command import SearchCommand, read_file
from kvops.models import ReferenceSearch
from kvops.references.report import MOST_BYTES, ReportRefused, loads


class Command(SearchCommand):
    help = "Stores the file that scan_references wrote elsewhere with --output."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        environment = self.environment(options["environment"])
        content = read_file(options["file"], MOST_BYTES)
        try:
            report = loads(content)
        except ReportRefused as refused:
            raise CommandError(f"{options['file']} is refused, and nothing is stored: {refused}") from refused
        self.store(environment, report, options, source=ReferenceSearch.Source.FILE, place=options["file"].name)
