"""The audit log is compared with what rows and manifests say: a chain that is consistent in itself is not enough."""

from collections.abc import Sequence

import pytest
from django.db import connection

from audit import claims
from audit.chain import GENESIS, canonical_entry, entry_hash
from audit.models import Entry, Head
from audit.verify import verify
from tests import make
from tests.audit.make import sql, triggers_off
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.database_roles import Roles, roles

__all__ = ["roles"]

pytestmark = [pytest.mark.django_db, pytest.mark.hazard("B34")]


@pytest.fixture
def cleaned(estate: make.Estate, people: make.People) -> make.Estate:
    cleanup_helpers.estate_with_masters(estate)
    cleanup_helpers.accepted(cleanup_helpers.asked(people), people)
    return estate


def problems() -> Sequence[str]:
    return [problem.problem for problem in verify().problems]


def cut_to(length: int) -> None:
    """Remove the tail and set the head back, as the owner of the tables can."""
    with triggers_off("audit_entry"), triggers_off("audit_head"):
        sql("DELETE FROM audit_entry WHERE seq > %s", length)
        last = Entry.objects.filter(seq=length).first()
        seq, hash_ = (last.seq, bytes(last.row_hash)) if last else (0, GENESIS)
        sql("UPDATE audit_head SET seq = %s, hash = %s, at = to_timestamp(0)", seq, hash_)
        if last:
            sql("UPDATE audit_head SET at = %s", last.at)


def hash_again(seq: int) -> None:
    """Change an entry and make every hash after it fit."""
    with triggers_off("audit_entry"), triggers_off("audit_head"):
        sql("UPDATE audit_entry SET actor = 'somebody else' WHERE seq = %s", seq)
        last = GENESIS
        for entry in Entry.objects.order_by("seq"):
            written = canonical_entry(entry.link().content)
            after = entry_hash(last, written)
            sql(
                "UPDATE audit_entry SET canonical = %s, prev_hash = %s, row_hash = %s WHERE seq = %s",
                written, last, after, entry.seq,
            )  # fmt: skip
            last = after
        sql("UPDATE audit_head SET hash = %s", last)


def test_the_record_of_a_whole_clean_up_agrees_with_rows_and_manifests(cleaned: make.Estate) -> None:
    report = verify()
    assert (report.problems, report.unread) == ((), ())
    assert report.heads >= 2


def test_an_empty_record_beside_full_tables_is_found(cleaned: make.Estate) -> None:
    cut_to(0)
    assert any("kvops_run has run:" in problem for problem in problems())
    assert any("the entry is missing" in problem for problem in problems())


@pytest.mark.parametrize("entries", [1, 2, 5])
def test_a_tail_cut_off_is_found(cleaned: make.Estate, entries: int) -> None:
    cut_to(Head.objects.get().seq - entries)
    assert problems()


def test_a_chain_hashed_again_is_found(cleaned: make.Estate) -> None:
    hash_again(1)
    assert any("the chain was hashed again: run:" in problem for problem in problems())
    assert any("/qa/backups/kv/master/" in problem for problem in problems())


def test_what_cannot_be_compared_is_named(cleaned: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_R2_KEY")
    [unread] = verify().unread
    assert unread.startswith("the newest manifest of qa: The R2 credentials of qa are not there.")


def test_the_verifier_compares_rows_and_names_the_manifests_it_cannot_read(cleaned: make.Estate, roles: Roles) -> None:
    cut_to(0)
    with roles.working_as(roles.verifier):
        report = verify()
    assert any("kvops_run has run:" in problem.problem for problem in report.problems)
    assert report.unread == ("backups.history.recorded.heads_of_manifests: this role may not read it",)


@pytest.mark.parametrize("claim", claims.row_claims(), ids=lambda claim: f"{claim.action}-{'-'.join(claim.values)}")
def test_each_claim_is_about_columns_and_states_that_exist(claim: claims.RowClaim) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(claim.columns)} FROM {claim.table}")
