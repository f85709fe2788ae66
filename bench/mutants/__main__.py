"""`python -m bench.mutants [--part PART] [--only TEXT]`: break the gate in a thousand ways; does a test of it notice?

The tests are those of `tests/gate`, which need nothing but a database. What was judged is kept in `.torture/`, and
counts as long as neither the product nor the tests that judged it change. The figures and survivors of each module that
was judged as a whole go into `results/mutants.md`. Exit 1 on a missed target.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path

from bench.place import ROOT

PARTS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "gate": {
        "kvops.approvals.gate": (
            "claim", "still_valid", "insist_recorded", "_recorded", "insist_writable", "insist_not_stopped", "_one",
        ),
        "kvops.approvals.standing": (),
        "kvops.runs.emergency": ("stop_in_force", "insist_none", "hold", "lock"),
        "backups.cleanup.stages": ("insist_turn", "insist_names", "_numbered", "insist_check", "policy_changed"),
        "backups.cleanup.requests": ("start_deletion", "_insist_startable", "_digest", "_insist_known"),
        "backups.cleanup.references": (
            "search_of", "with_others", "hits_of", "_names_in_the_code", "_answers", "unanswered", "missing", "lacking",
            "insist_references", "answer", "_insist_open", "_insist_no_follow_up", "_insist_follow_up",
        ),
        "backups.cleanup.shown_references": (),
        "backups.cleanup.after_check": (),
        "backups.cleanup.completion": (),
        "backups.cleanup.evidence": (),
        "backups.policy": ("shown", "why_not_as"),
        "backups.execution.lifecycle": (
            "Lifecycle.locked", "Lifecycle.insist_operator", "Lifecycle.start", "Lifecycle.claim_and_run",
        ),
        "backups.deletion.run": (
            "delete_keys_permanently", "delete_under",
            "_Deletion.begin", "_Deletion._derive", "_Deletion._insist_verified",
            "_Deletion._until_apart", "_Deletion._lay_still", "_Deletion.delete",
            "_Deletion._careful", "_Deletion._patience", "_Deletion._doubtful", "_Deletion._next",
            "_Deletion._send", "_Deletion._wait_for_a_person", "_Deletion._insist_rights", "_Deletion._hold",
            "let_go_on",
        ),
        "backups.deletion.mandate": (),
        "backups.bucket.newest_manifest": ("insist_none",),
        "backups.execution.revalidation": (),
        "backups.execution.presence": (),
        "backups.generations.verification": (),
        "backups.deletion.settle": (),
        "backups.deletion.chunks": (),
        "backups.restores.safety_backup": (),
        "backups.execution.clients": ("Clients.insist_visible", "open_clients"),
        "backups.execution.live_digests": (),
        "backups.cleanup.qa": (
            "Turn.proven", "Turn._reappeared", "Turn._accepted", "_counts", "Turn._of_scope", "Turn.earlier",
            "Turn.missing",
        ),
        "backups.deletion.send": (
            "_Read.old", "Sender.send", "Sender._read_in_time", "Sender._intend_and_delete", "Sender._delete",
        ),
    },
    "restores": {
        "backups.restores.before_write": (),
        "backups.restores.plan": (),
        "backups.restores.moves": ("insist_names", "insist_alone"),
        "backups.restores.write": (
            "Putter.put", "Putter._plan", "Putter._outcome", "Putter._intend", "Putter._write", "Putter._write_singly",
        ),
        "backups.restores.verification": ("Settler._result_of", "Settler._missed"),
        "backups.restores.run": (
            "RestoreRun.begin", "RestoreRun.until_gone", "RestoreRun._look", "RestoreRun._put",
            "RestoreRun._insist_evidence", "RestoreRun._next", "RestoreRun._insist_rights",
        ),
    },
    "bulk": {
        "backups.changes.bulk.qa": ("accepted_before", "still_counts", "comes_first", "is_of_other_keys", "_life"),
        "backups.changes.bulk.requests": ("_accepted_before", "_insist_qa", "_insist_time"),
        "backups.changes.bulk.run": (
            "changed", "BulkPutter.to_write", "BulkSettler.expected", "BulkRun.begin", "BulkRun._put",
            "BulkRun.insist_as_approved",
        ),
        "backups.changes.bulk.start": ("cache_family", "insist_writable", "_member"),
    },
    "outside": {"backups.outside_changes.explained": ()},
    "unchanged": {"backups.history.unchanged": ("unchanged_since", "_chain", "_holds")},
    "vault": {"backups.vault.start": (), "backups.vault.documents": ("record_look",)},
    "clearing": {
        "backups.clearing.conditions": (),
        "backups.clearing.mandate": (),
        "backups.clearing.rounds": (),
        "backups.clearing.references": (),
    },
    "changes": {
        "backups.changes.before_write": (),
        "backups.changes.moves": (),
        "backups.changes.qa": (),
        "backups.changes.proposal": ("Proposal.parts", "opened", "unsealed"),
        "backups.changes.requests": (
            "submit", "insist_asker", "insist_prepared", "_insist_qa", "start", "_digest", "_qa_stands",
            "give_up", "accept",
        ),
        "backups.changes.evidence": (),
        "kvops.inventory.reveal": (),
    },
    "families": {
        "kvops.inventory.registration": (),
        "backups.families.requests": (),
        "backups.families.evidence": (),
        "kvops.inventory.impact": ("overlapped",),
    },
    "approvals": {"kvops.approvals.gate": (), "kvops.approvals.evidence": ()},
    "digests": {
        "backups.archive.digests": (),
        "backups.cleanup.qa": ("scope_digest",),
    },
    "leases": {"kvops.runs.lease": ()},
    "people": {
        "kvops.roles.requests": (),
        "kvops.roles.recovery": (),
        "kvops.people.setup": ("login_of", "grant", "revoke", "deactivate", "activate"),
    },
}  # fmt: skip
"""What is broken: functions of modules, all when none is named; a function belongs to the first part with it."""

TESTS = "tests/gate"
PYTEST = ("-q", "--reuse-db", "--capture=no", "-p", "no:cacheprovider")
QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")


def main() -> int:
    """Judge the mutants of the parts."""
    options = _options()
    if not os.environ.get("DATABASE_URL"):
        raise SystemExit("Set DATABASE_URL, or use `make mutants`, which starts a Postgres for it.")

    # The settings of the tests, then Django, then what needs both.
    import tests.environ  # noqa: F401, PLC0415, I001
    import django  # noqa: PLC0415

    django.setup()
    import pytest  # noqa: PLC0415

    from bench.mutants import table  # noqa: PLC0415
    from bench.mutants.making import Mutant, mutants  # noqa: PLC0415
    from bench.mutants.plugin import Plugin  # noqa: PLC0415
    from bench.mutants.reasons import reason  # noqa: PLC0415

    modules = PARTS[options.part] if options.part else {*chain(*PARTS.values())}
    modules = {name for name in modules if any(_begin_alike(name, begins) for begins in options.only)}
    made = [
        (part, one)
        for part, named in PARTS.items()
        for name, of in named.items()
        if name in modules
        for one in mutants(name, of)
    ]
    all_ = {mutant.key: mutant for _, mutant in reversed(made)}
    of = {(mutant.module, mutant.function): part for part, mutant in reversed(made)}
    chosen = [
        mutant
        for begins in options.only
        for mutant in reversed(all_.values())
        if options.part in {None, of[mutant.module, mutant.function]} and mutant.key.startswith(begins)
    ]
    kept = ROOT / ".torture" / "mutants.jsonl"
    kept.parent.mkdir(exist_ok=True)
    state = cache(lambda tests: _state(tests.split()))
    done = _still_true(kept, state)
    begun = time.monotonic()

    def found(mutant: Mutant, how: str, by: pytest.Item | None) -> None:
        done[mutant.key] = how
        if how == "survived":
            print(mutant.key, flush=True)
            if options.tests != [TESTS]:
                return
        tests = [str(by.path.relative_to(ROOT))] if by else options.tests
        with kept.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps([mutant.key, how, tests, state(' '.join(tests))])}\n")

    done |= {mutant.key: "survived" for mutant in chosen if reason(mutant.key)}
    same = {name: table.unchanged(name) for name in modules} if options.changed else {}
    carried = {one.key for one in chosen if one.key not in done and one.function in same.get(one.module, ())}
    done |= dict.fromkeys(carried, "killed")
    left = [mutant for mutant in chosen if mutant.key not in done]
    print(f"{len(left)} of {len(all_)} mutants are to be judged.", file=sys.stderr)
    if left and pytest.main([*options.tests, *PYTEST, *QUIET], plugins=[Plugin(left, found)]) not in {0, 5}:
        return 2
    judged = [table.Judged(of[one.module, one.function], one, done[one.key]) for one in chosen]
    missed = table.figures(judged, minutes=(time.monotonic() - begun) / 60)
    if options.tests == [TESTS]:
        table.write(judged, all_.values(), carried)
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.mutants", description=__doc__)
    parser.add_argument("--part", choices=PARTS, help="all without it")
    parser.add_argument(
        "--only", nargs="+", default=[""], metavar="TEXT", help="mutants whose description begins with one of these"
    )
    parser.add_argument(
        "--tests", nargs="+", default=[TESTS], metavar="PATH", help="fewer tests, for a first look; no survivor is kept"
    )
    parser.add_argument("--changed", action="store_true", help="only functions that changed since their module's row")
    return parser.parse_args()


def _begin_alike(module: str, begins: str) -> bool:
    return module.startswith(begins) or begins.startswith(module)


def _still_true(kept: Path, state: Callable[[str], str]) -> dict[str, str]:
    """What became of mutants in a product, and by tests, that are the same now."""
    lines = map(json.loads, kept.read_text("utf-8").splitlines()) if kept.exists() else ()
    return {key: how for key, how, tests, was in lines if state(" ".join(tests)) == was}


def _state(tests: Sequence[str]) -> str:
    """A digest of everything that decides whether these tests notice a mutant."""
    digest = hashlib.sha256()
    mine = [path for one in tests for path in ([ROOT / one] if one.endswith(".py") else (ROOT / one).rglob("*.py"))]
    shared = [path for path in (ROOT / TESTS).glob("*.py") if not path.name.startswith("test_")]
    tool = [ROOT / "bench" / "mutants" / name for name in ("making.py", "plugin.py")]
    product = [path for folder in ("audit", "kvops", "backups") for path in (ROOT / folder).rglob("*.py")]
    for path in sorted({*mine, *shared, *tool, *product}):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


if __name__ == "__main__":
    raise SystemExit(main())
