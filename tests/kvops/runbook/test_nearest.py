"""The operation of a backup: the one that made it, however near another is."""

import pytest

from backups.models import CleanupStage
from kvops.runbook import entries as runbook_entries
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations import helpers as generation_helpers
from tests.backups.retention import requesting

pytestmark = pytest.mark.django_db


def operation_of(subject: str) -> str:
    entry = runbook_entries.of_subject(subject)
    assert entry is not None
    return entry.begun.subject


def test_a_prune_request_takes_no_backup_from_its_clean_up(estate: make.Estate, people: make.People) -> None:
    [old] = requesting.expired(estate, 40)
    prune = requesting.asked(estate, people)
    assert operation_of(f"generation:{old.pk}") == f"prune:{prune.pk}"
    generation_helpers.dataset()
    cleanup = cleanup_helpers.asked(people)  # two steps above the backup; the prune request is one
    with make.past_the_triggers():
        CleanupStage.objects.filter(pk=cleanup_helpers.stage_of(cleanup).pk).update(generation=old)
    assert operation_of(f"generation:{old.pk}") == f"cleanup:{cleanup.pk}"
