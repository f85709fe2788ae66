"""`manage.py probe_cloudflare`: the report, the refusals, and the entries of the audit log."""

import json
import os
from collections.abc import Callable

import pytest
from django.db.models.functions import Now

from audit.models import Entry
from backups.bucket.r2 import R2Store
from backups.probe import allowance, run
from backups.probe.bench import Bench
from backups.probe.findings import Behaviour, ProbeFinding, find
from backups.retention.erasure import erase_probe_permanently
from kvops.models import DatabaseRollback, Environment
from kvops.runs import emergency
from kvops.runs.outcomes import RunError
from tests import make
from tests.backups.probe.conftest import BUCKET, SCRATCH, Scratch


def entries(action: str) -> list[dict[str, object]]:
    """The details of the entries of an action."""
    return [dict(entry.details) for entry in Entry.objects.filter(action=action).order_by("seq")]


def writes(scratch: Scratch) -> list[str]:
    """The names that were written or deleted, and the objects that were put."""
    names = [name for call in scratch.cloudflare.journal for name in (*call.written, *call.deleted)]
    return names + [call.key for call in scratch.s3.calls("PUT")]


def _store(bucket: str) -> R2Store:
    """A store that is never asked."""
    hosts = ("127.0.0.1",)
    return R2Store(
        endpoint="http://127.0.0.1:1", bucket=bucket, access_key_id="k", secret_access_key="s", allowed_hosts=hosts
    )


def test_the_fake_behaves_as_kvops_relies_on(scratch: Scratch) -> None:
    report = scratch.report()
    assert [(one["name"], one["seen"]) for one in report["findings"] if one["state"] == "differs"] == []
    assert [one["name"] for one in report["findings"] if one["state"] == "not known"] == ["R2: lock"]
    assert (report["ok"], report["left"]) == (True, [])


def test_it_writes_under_its_own_prefix_only_and_removes_all(scratch: Scratch) -> None:
    prefix = scratch.report()["prefix"]
    assert {name[: len(prefix)] for name in writes(scratch)} == {prefix}
    assert (list(scratch.cloudflare.namespace(SCRATCH).walk("", None)), scratch.s3.objects) == ([], {})
    assert scratch.s3.uploads == []


def test_it_sends_at_most_200_requests(scratch: Scratch) -> None:
    report = scratch.report()
    assert report["requests"] == len(scratch.cloudflare.journal) + len(scratch.s3.journal) <= 200


def test_without_requests_left_the_rest_is_not_known_and_all_is_removed(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(allowance.Allowance.__init__, "__defaults__", (60,))
    report = scratch.report()
    assert len(scratch.cloudflare.journal) + len(scratch.s3.journal) <= 60
    assert report["counts"]["not known"] > 10
    assert (report["left"], list(scratch.cloudflare.namespace(SCRATCH).walk("", None))) == ([], [])


def test_start_target_and_outcome_are_in_the_audit_log(scratch: Scratch) -> None:
    report = scratch.report()
    [started], [finished] = entries("probe.started"), entries("probe.finished")
    target = {"namespace_id": SCRATCH, "bucket": BUCKET, "write_token": "env:PROBE_WRITE", "prefix": report["prefix"]}
    assert target.items() <= started.items()
    outcome = {"ended": "complete", "counts": report["counts"], "left": [], "differs": []}
    assert outcome.items() <= finished.items()


def test_the_report_names_expectation_and_consequence_and_a_difference_is_exit_1(scratch: Scratch) -> None:
    scratch.cloudflare.fault("bulk_put", "wrong_count")
    code, text = scratch.run()
    assert code == 1
    assert "differs     bulk put: answer" in text
    assert "consequence: Restores and changes cannot settle their writes." in text


def test_without_its_keys_a_behaviour_is_not_known_and_nothing_of_it_differs(scratch: Scratch) -> None:
    scratch.cloudflare.fault("bulk_put", "reset", times=9)
    states = {one["name"]: one["state"] for one in scratch.report()["findings"]}
    assert (states["bulk put: answer"], states["list: order"], states["bulk delete: answer"]) == ("not known",) * 3
    assert states["R2: put and get"] == "as expected"


@pytest.mark.parametrize("slug", ["qa", "production"])
def test_a_bound_namespace_is_refused(scratch: Scratch, slug: str) -> None:
    code, said = scratch.run(namespace=make.NAMESPACES[slug])
    assert (code, writes(scratch)) == (2, [])
    assert f"bound as {slug}/SETTINGS" in said
    assert [one["reason"] for one in entries("refused")] == [said]


def test_a_namespace_for_drills_is_refused(scratch: Scratch) -> None:
    make.scratch(scratch.estate)
    code, said = scratch.run(namespace=make.SCRATCHES["qa"])
    assert (code, "bound as qa/DRILLS" in said) == (2, True)


def test_the_bucket_of_an_environment_is_refused(scratch: Scratch) -> None:
    code, said = scratch.run(bucket=scratch.estate.production.environment.r2_bucket)
    assert (code, "The bucket is that of" in said, writes(scratch)) == (2, True, [])


def test_a_namespace_that_is_not_empty_is_refused(scratch: Scratch) -> None:
    scratch.cloudflare.put(SCRATCH, "somebody's", b"v")
    code, said = scratch.run()
    assert (code, "not empty" in said, writes(scratch), entries("probe.started")) == (2, True, [], [])


def test_a_bucket_that_is_not_empty_is_refused(scratch: Scratch) -> None:
    scratch.s3.objects["somebody's"] = b"v"
    code, said = scratch.run()
    assert (code, "not empty" in said, writes(scratch), entries("probe.started")) == (2, True, [], [])


def test_the_write_token_of_an_environment_is_refused(scratch: Scratch) -> None:
    Environment.objects.filter(slug="production").update(write_token="env:PROBE_WRITE")
    code, said = scratch.run()
    assert (code, "is the write token of an environment" in said) == (2, True)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [("PROBE_WRITE", "", "is not set"), ("PROBE_WRITE", "qa-read-token", "are the same"), ("PROBE_WRITE", "x", "see")],
)
def test_a_missing_or_foreign_token_is_refused(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setitem(os.environ, variable, value)
    code, text = scratch.run()
    assert (code, said in text, writes(scratch)) == (2, True, [])


def test_a_token_that_is_refused_on_purpose_is_not_noted(scratch: Scratch) -> None:
    scratch.report()
    assert {call.status for call in scratch.cloudflare.journal} >= {401, 403}
    assert not scratch.estate.qa.environment.refused_tokens.exists()


def test_after_a_crash_the_next_run_names_what_is_left_and_clean_removes_it(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_bench: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dies:
        dies.setattr(run, "clean", killed)
        with pytest.raises(KeyboardInterrupt):
            scratch.run()
    prefix = str(entries("probe.started")[0]["prefix"])
    code, said = scratch.run()
    assert (code, f"--clean {prefix}" in said) == (2, True)
    assert scratch.run("--clean", prefix) == (0, "Nothing is left.\n")
    assert (list(scratch.cloudflare.namespace(SCRATCH).walk("", None)), entries("probe.finished")) == ([], [])
    assert entries("probe.cleaned")[0]["left"] == []
    assert scratch.run()[0] == 0


def _stopped(scratch: Scratch, people: make.People) -> None:
    emergency.press(scratch.estate.production.environment, by=people.auditor, reason="look first")


def _rolled_back(scratch: Scratch, _people: make.People) -> None:
    DatabaseRollback.objects.create(
        environment=scratch.estate.production.environment,
        manifest_key="backups/kv/x.manifest.json",
        modified_at=Now(),
        sequence=10_000,
        hash="ab" * 32,
        our_sequence=1,
    )


@pytest.mark.parametrize(("hold", "why"), [(_stopped, "look first"), (_rolled_back, "Read-only")])
def test_a_stop_of_any_environment_and_a_rollback_hold_the_probe_and_its_cleaning_back(
    scratch: Scratch, people: make.People, hold: Callable[[Scratch, make.People], None], why: str
) -> None:
    prefix = scratch.report()["prefix"]
    hold(scratch, people)
    asked = len(scratch.cloudflare.journal)
    for more in ([], ["--clean", prefix]):
        code, said = scratch.run(*more)
        assert (code, why in said, len(scratch.cloudflare.journal)) == (2, True, asked)


def test_a_stop_ends_a_probe_before_its_next_request(
    scratch: Scratch, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def pressed(behaviour: Behaviour, bench: Bench) -> ProbeFinding:
        if behaviour.name == "list: order":
            _stopped(scratch, people)
            asked.append(len(scratch.cloudflare.journal))
        return find(behaviour, bench)

    monkeypatch.setattr(run, "find", pressed)
    code, text = scratch.run("--json")
    report = json.loads(text)
    assert (code, [len(scratch.cloudflare.journal)], scratch.s3.calls("PUT")) == (1, asked, [])
    row = next(one for one in report["findings"] if one["name"] == "list: order")
    assert row["state"] == "not known"
    assert "look first" in row["seen"]
    assert "look first" in report["left"][0]


def test_without_a_date_the_clock_of_r2_is_not_known_and_nothing_differs(
    scratch: Scratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(R2Store, "time", lambda _store: None)
    report = scratch.report()
    [row] = [one for one in report["findings"] if one["name"] == "R2: Date"]
    assert (row["state"], report["ok"]) == ("not known", True)
    assert "only the clock of Cloudflare's API is compared" in row["seen"]


def test_what_cannot_be_removed_is_named(scratch: Scratch) -> None:
    scratch.cloudflare.fault("bulk_delete", "error", times=99)
    code, text = scratch.run()
    assert code == 1
    assert "Left behind under kvops-probe-" in text
    assert entries("probe.finished")[0]["left"] != []


def test_clean_takes_no_prefix_that_no_probe_of_the_target_had(scratch: Scratch) -> None:
    scratch.cloudflare.put(SCRATCH, "kvops-probe-0123456789abcdef:x", b"v")
    for prefix in ("kvops-probe-0123456789abcdef", "kvops", ""):
        code, _said = scratch.run(*(["--clean", prefix] if prefix else []))
        assert (code, writes(scratch)) == (2, [])


def test_a_locked_object_stays_and_is_named(scratch: Scratch) -> None:
    account = scratch.estate.qa.environment.account_id
    scratch.cloudflare.bucket(account, BUCKET).lock("kvops-probe-")
    scratch.s3.keep("kvops-probe-")
    report = scratch.report()
    [lock] = [one for one in report["findings"] if one["name"] == "R2: lock"]
    assert (lock["state"], report["ok"], report["left"]) == ("as expected", True, [])
    assert set(report["locked"]) == set(scratch.s3.objects) != set()


@pytest.mark.parametrize(
    ("prefix", "key"),
    [
        ("kvops-probe-0123456789abcdef", "qa/backups/kv/x.json"),
        ("kvops-probe-", "kvops-probe-x"),
        ("qa/backups", "qa/backups/kv/x.json"),
    ],
)
def test_erasing_takes_nothing_but_a_probes_objects(scratch: Scratch, prefix: str, key: str) -> None:
    with pytest.raises(RunError, match="not one of a probe"):
        erase_probe_permanently(_store(BUCKET), prefix, key)


def test_erasing_takes_nothing_from_the_bucket_of_an_environment(scratch: Scratch) -> None:
    prefix = "kvops-probe-0123456789abcdef"
    with pytest.raises(RunError, match="not one of a probe"):
        erase_probe_permanently(_store(scratch.estate.qa.environment.r2_bucket), prefix, f"{prefix}/x")
