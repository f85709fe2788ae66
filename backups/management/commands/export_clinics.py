"""Export the clinic records of an environment in bulk, and prepare their deletion if asked.

`dump_command` describes the exit codes and the output of --json. `--delete` prepares a stage of a clean-up: the keys
are listed and fixed, backed up to R2, verified and checked against D1; with `--to-r2` that backup is the export.
Nothing is deleted: an operator submits the stage at the printed address, and another person approves. If it is not
this environment's turn, the exit code is 1, with the reason. `--json` then adds `stage` (its id), `state`, `names`,
`generation` and `url`.
"""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.urls import reverse

from audit.log import Actor
from backups.cleanup import preparation, requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused, busy_run
from backups.integrity import start as check_start
from backups.management import run_to_end
from backups.management.dump_command import DumpCommand
from backups.masters import clinics
from backups.models import CleanupStage
from kvops.inventory import scan as inventory_scan
from kvops.models import Namespace
from kvops.runs import driver as run_driver
from kvops.wording import TOO_SHORT, english, explains

State = CleanupStage.State
READY = {State.VERIFIED, State.CHECKED, State.CONFIRMED}


class Command(DumpCommand):
    help = "Exports the old clinic records to a file, or backs them up in R2; with --delete, prepares their deletion."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("environment", metavar="ENV")
        parser.add_argument("--binding", default=clinics.BINDING)
        parser.add_argument("--prefix", default=clinics.PREFIX)
        super().add_arguments(parser)
        parser.add_argument("--delete", action="store_true", help="prepare the deletion of what was exported")
        parser.add_argument("--reason", default="", help="why they are deleted; needed with --delete")

    def handle(self, *args: Any, **options: Any) -> None:
        namespace = self.namespace(f"{options['environment']}/{options['binding']}")
        if options["delete"] and not explains(options["reason"]):
            raise CommandError(
                f"Say why with --reason: the person who approves reads it. {english(TOO_SHORT)}", returncode=2
            )
        if options["delete"] and not options["dry_run"]:
            outcome = self._with_deletion(namespace, options)
        else:
            outcome = self.back_up(namespace, [options["prefix"]], options)
        self.report(outcome, options)

    def _with_deletion(self, namespace: Namespace, options: dict[str, Any]) -> dict[str, object]:
        actor = Actor.command()
        try:
            stage = cleanup_requests.open_stage(namespace, prefix=options["prefix"], reason=options["reason"], by=actor)
            outcome = {} if options["to_r2"] else self.back_up(namespace, [options["prefix"]], options)
            self._prepare(stage, actor)
        except CleanupRefused as refused:
            cleanup_requests.record_refusal_of_cleanup(namespace, options["prefix"], refused, actor=actor)
            raise CommandError(str(refused)) from refused
        except (
            check_start.CheckRefused,
            inventory_scan.ScanRefused,
            run_driver.AlreadyOpen,
            run_driver.NotResumable,
        ) as refused:
            raise CommandError(str(refused)) from refused
        made = stage.generation
        if made:
            outcome = {
                "keys": made.keys,
                "bytes": made.bytes,
                "calls": made.calls,
                "sha256": made.manifest_sha256,
            } | outcome
        facts = {"stage": stage.pk, "state": stage.state, "names": stage.names, "generation": made.pk if made else None}
        return outcome | facts | {"url": f"{settings.BASE_URL}{reverse('backups:stage', args=[stage.pk])}"}

    def _prepare(self, stage: CleanupStage, actor: Actor) -> None:
        """Freeze, back up, verify, check. Raises CommandError if a step failed, CleanupRefused and its kinds."""
        scan = inventory_scan.start_scan(stage.namespace, actor=actor, prefix=stage.request.prefix, foreground=True)
        run_to_end.to_the_end(scan.run, self.stderr)
        preparation.freeze_stage(stage, by=actor)
        preparation.prepare_stage(stage, by=actor, foreground=True)
        while run := busy_run(stage):
            if not run.foreground:
                raise CommandError(f"Run {run.pk} of the stage is a worker's: wait for it, then look at the stage.")
            run_to_end.to_the_end(run, self.stderr)
        stage.refresh_from_db()
        if stage.state not in READY or stage.returned_because:
            raise CommandError(stage.returned_because or f"The stage is: {stage.get_state_display()}.")
