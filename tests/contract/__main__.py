"""Run the contract tests on the scratch namespace, bucket and database of a real account: `make contract`.

Exit 0 if all is as expected or not known, 1 if something differs or was left behind, 2 if the target is refused.
"""

import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest

from tests.contract import account
from tests.contract.account import AccountRefused, ScratchTarget
from tests.contract.findings import Findings

HERE = Path(__file__).parent
REWRITTEN = "ignore::pytest.PytestAssertRewriteWarning"
"""A client was imported before pytest could look into it."""
QUIET = ("-q", "--no-header", "--no-summary", "--tb=no", "-p", "no:cacheprovider", "--timeout=3600", "-W", REWRITTEN)


def main(arguments: list[str]) -> int:
    """Refuse or run."""
    parser = ArgumentParser(prog="make contract", description=__doc__)
    parser.add_argument("file", type=Path, help="CLOUDFLARE: the account, its scratch targets and its tokens")
    parser.add_argument("allowance", help="ALLOWANCE: the requests that the run may send")
    options = parser.parse_args(arguments)
    try:
        target = account.load(options.file, options.allowance)
        account.insist_scratch(target)
    except AccountRefused as refused:
        sys.stderr.write(f"{refused}\n")
        return 2
    before = account.clean(target)
    if before.removed:
        sys.stdout.write(f"Removed what an earlier run left: {before.removed}.\n")
    return _run(target)


def _run(target: ScratchTarget) -> int:
    findings = Findings()
    account.chosen = target
    try:
        pytest.main([str(HERE), "-k", "cloudflare_target", *QUIET], plugins=[findings])
    finally:
        after = account.clean(target)
        for line in _report(target, findings, after):
            sys.stdout.write(f"{line}\n")
    return 1 if findings.differ or after.left or not findings.found else 0


def _report(target: ScratchTarget, findings: Findings, after: account.Leftovers) -> list[str]:
    lines = [*findings.lines(), f"requests: {target.budget.sent} of {target.budget.most}"]
    lines += [f"a {kind} is seen after at most {seconds:.1f} s" for kind, seconds in target.seen.longest.items()]
    if after.left:
        lines.append(f"Left behind: {', '.join(map(repr, after.left))}. The next run removes it.")
    if after.locked:
        lines.append(f"A lock of the bucket keeps {', '.join(map(repr, after.locked))}. A run after it removes them.")
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
