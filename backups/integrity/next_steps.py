"""The next step after a failed check, and after a likely cause: one sentence and one action."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db.models import TextChoices
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from backups.integrity import cases
from backups.integrity.causes import Cause
from backups.integrity.newer import rows as newer_rows
from backups.models import Check, DifferenceCase
from backups.models.integrity import source_of


class NextStep(TextChoices):
    """The actions; the template of each is a button or a form."""

    LATER = "later", _("Open the newest check")
    ASSIGN = "assign", _("Name a person")
    LOOK = "look", _("See both values")
    IMPORT = "import", _("Import file for D1")
    AGAIN = "again", _("Check again")
    BACKUP = "backup", _("Take a new backup")
    RESTORE = "restore", _("Restore the key")
    POLICY = "policy", _("See the datasets")


@dataclass(frozen=True, slots=True)
class Advice:
    """One sentence and the action that it speaks of."""

    text: str | Promise
    step: NextStep


AFTER: Mapping[Cause, Advice] = {
    Cause.D1_NEWER: Advice(
        _("D1 is the source of truth: do not set the older value over the newer row."),
        NextStep.LOOK,
    ),
    Cause.KV_NEWER: Advice(_("The backup is older than the key: take a new one and check that."), NextStep.BACKUP),
    Cause.NEVER_LOADED: Advice(
        _("D1 is the source of truth, so the row needs no key. The dataset can allow rows without a key."),
        NextStep.POLICY,
    ),
    Cause.DELETED: Advice(_("If the key is still needed, restore it from a backup that holds it."), NextStep.RESTORE),
    Cause.ROW_NOT_LOADED: Advice(
        _("Load the missing rows into D1 with the import file, then check again."), NextStep.IMPORT
    ),
    Cause.ROW_DELETED: Advice(
        _("Ask the owner of D1 whether the row was deleted on purpose. If not, the import file brings it back."),
        NextStep.IMPORT,
    ),
    Cause.FORMATTING: Advice(
        _("Correct the side with the wrong format, D1 by the import file. If both are right, change the dataset."),
        NextStep.IMPORT,
    ),
    Cause.DATASET: Advice(_("Name the field in the dataset, or let the dataset ignore it."), NextStep.POLICY),
    Cause.UNKNOWN: Advice(_("Compare both values, and ask the owner of the data which one is right."), NextStep.LOOK),
}


def later_check(check: Check) -> Check | None:
    """The newest later check with a result of the same dataset, environment and source."""
    finished = Check.objects.exclude(outcome=Check.Outcome.PENDING).select_related("generation", "dataset")
    later = finished.filter(environment=check.environment_id, dataset=check.dataset_id, pk__gt=check.pk)
    return next((one for one in later.order_by("-pk") if source_of(one) == source_of(check)), None)


def after_failed(check: Check, case: DifferenceCase | None, later: Check | None) -> Advice:
    """The next step on the page of a failed check."""
    if later is not None and later.outcome == Check.Outcome.PASSED and cases.covers(later, check):
        return Advice(_("A later check found no difference: nothing is left to do here."), NextStep.LATER)
    if later is not None:
        return Advice(_("A later check is there: go on with its differences."), NextStep.LATER)
    if newer_rows.only_newer(check):
        return _after_newer(check, case)
    if case is None:
        return Advice(_("Nobody looks into these differences yet. Name a person and a day."), NextStep.ASSIGN)
    return Advice(
        _("Find the cause: see both values of a difference. Then correct one side, and check again."), NextStep.LOOK
    )


def _after_newer(check: Check, case: DifferenceCase | None) -> Advice:
    """The next step if all differences are rows that are newer in D1, so that a reviewer may accept them."""
    if newer_rows.stated_cause(check, check.finished_at):
        sentence = _(
            "The cause of the rows that are newer in D1 is stated. Export the master data from D1 again, then check "
            "again: a reviewer accepts these rows by name."
        )
        return Advice(sentence, NextStep.AGAIN)
    if case is None:
        return Advice(
            _("All differences are rows that are newer in D1. Name a person who states the cause."), NextStep.ASSIGN
        )
    sentence = _(
        "All differences are rows that are newer in D1. See both values, then record the outcome “accepted as it is” "
        "with the cause."
    )
    return Advice(sentence, NextStep.LOOK)
