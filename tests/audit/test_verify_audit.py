"""``verify_audit`` finds what somebody with the owner's rights did to the stored record."""

import json
import os
import subprocess
import sys
import tracemalloc
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from audit import claims, log, verify
from audit.actions import Action
from audit.chain import ChainProblem
from audit.models import Entry
from tests.audit.make import OPERATOR, sql, triggers_off, write


def run(*flags: str) -> str:
    out = StringIO()
    call_command("verify_audit", *flags, stdout=out)
    return out.getvalue()


@pytest.mark.django_db
def test_an_untouched_record_is_reported_as_it_is() -> None:
    write()
    write()
    head = verify.verify().head_hash
    assert run() == f"Entries: 2\nHead: 2 {head}\nHeads kept in backups: 0\n"
    recorded = Entry.objects.get(action="audit.verified")
    assert recorded.details == {"up_to": 2, "hash": head, "heads": 0, "not_compared": []}
    assert json.loads(run("--json")) == {
        "ok": True,
        "recorded": True,
        "entries": 3,
        "head_sequence": 3,
        "head_hash": recorded.link().row_hash.hex(),
        "problems": [],
        "heads": 0,
        "unread": [],
    }


@pytest.mark.django_db
def test_an_empty_record_is_fine() -> None:
    assert json.loads(run("--json"))["head_hash"] == "00" * 32


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("table", "damage", "sequence"),
    [
        ("audit_entry", "UPDATE audit_entry SET actor = 'x' WHERE seq = 2", 2),
        ("audit_entry", "UPDATE audit_entry SET details = '{\"keys\": 0.5}' WHERE seq = 2", 2),
        ("audit_entry", "UPDATE audit_entry SET canonical = 'x' WHERE seq = 3", 3),
        ("audit_entry", "DELETE FROM audit_entry WHERE seq = 2", 3),
        ("audit_entry", "DELETE FROM audit_entry WHERE seq = 3", 3),
        ("audit_entry", "TRUNCATE audit_entry", 1),
        ("audit_head", "UPDATE audit_head SET seq = 2", 2),
        ("audit_head", "UPDATE audit_head SET hash = sha256('x')", 3),
        ("audit_head", "DELETE FROM audit_head", 0),
    ],
)
def test_damage_is_found_where_it_is(table: str, damage: str, sequence: int) -> None:
    for _ in range(3):
        write()
    with triggers_off(table):
        sql(damage)
    assert verify.verify().problems[0].sequence == sequence


@pytest.mark.django_db
def test_an_entry_beyond_the_head_is_found() -> None:
    for _ in range(3):
        write()
    second = "(SELECT row_hash FROM audit_entry WHERE seq = 2)"
    with triggers_off("audit_head"):
        sql(f"UPDATE audit_head SET seq = 2, hash = {second}")
    assert verify.verify().problems == (ChainProblem(3, "the entry lies beyond the head"),)


@pytest.mark.django_db
def test_the_command_fails_with_the_first_problem() -> None:
    write()
    with triggers_off("audit_entry"):
        sql("UPDATE audit_entry SET actor = 'x'")
    with pytest.raises(CommandError, match="at entry 1: the columns differ") as failed:
        run("--json")
    assert failed.value.returncode == 1
    assert not Entry.objects.filter(action="audit.verified").exists()


@pytest.mark.django_db
def test_the_report_keeps_no_more_than_the_first_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "MAX_PROBLEMS", 2)
    for _ in range(4):
        write()
    with triggers_off("audit_entry"):
        sql("UPDATE audit_entry SET actor = 'x'")
    report = verify.verify()
    assert (report.entries, [problem.sequence for problem in report.problems]) == (4, [1, 2])


@pytest.mark.django_db
def test_verification_reads_the_record_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "CHUNK", 20)
    with log.transaction():
        for _ in range(1_000):
            log.record(Action.REFUSED, actor=OPERATOR, details={str(n): "x" * 2_000 for n in range(5)})
    tracemalloc.start()
    assert verify.verify().entries == 1_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000  # of 20 MB


def test_a_wrong_flag_is_bad_usage() -> None:
    command = [sys.executable, "-m", "django", "verify_audit", "--quickly"]
    done = subprocess.run(command, env=os.environ, capture_output=True, check=False, timeout=60)
    assert done.returncode == 2


@pytest.mark.django_db
def test_it_ends_with_1_and_says_what_could_not_be_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent() -> None:
        raise claims.NotReadable("the newest manifest of qa: no answer")

    monkeypatch.setattr("backups.history.recorded.heads_of_manifests", silent)
    with pytest.raises(
        CommandError, match=r"could not be compared: the newest manifest of qa: no answer.*again"
    ) as end:
        run()
    assert end.value.returncode == 1
    out = StringIO()
    with pytest.raises(CommandError):
        call_command("verify_audit", "--json", stdout=out)
    assert json.loads(out.getvalue())["ok"] is False
    assert "no answer" in Entry.objects.filter(action="audit.verified").latest("seq").details["not_compared"][0]
