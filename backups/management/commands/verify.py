"""Compare one dataset of a file with D1 (`check_command` describes the output of --json)."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from backups.management.check_command import VerifyCommand
from backups.models import Dataset


class Command(VerifyCommand):
    help = "Compares one dataset, such as facilities or staff, with D1; exit 1 on any difference."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--name", required=True, metavar="DATASET", help="a dataset of the policy")

    def handle(self, *_args: object, **options: Any) -> None:
        environment = self.environment(options["environment"])
        dataset = Dataset.objects.filter(name=options["name"]).first()
        if dataset is None:
            known = ", ".join(Dataset.objects.order_by("name").values_list("name", flat=True)) or "none"
            raise CommandError(f"There is no dataset {options['name']!r}. Known: {known}.", returncode=2)
        if dataset.name not in self.mentioned(options["dataset"], dataset.database):
            raise CommandError(f"{options['dataset']} holds no rows of {dataset.name}: nothing was compared.")
        self.verify(environment, [dataset.name], options)
