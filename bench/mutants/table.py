"""What became of the mutants: the figures by part, and each survivor with the reason."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.mutants.making import Mutant
from bench.mutants.reasons import reason
from bench.place import ROOT
from bench.table import commit, line

RESULTS = ROOT / "bench" / "results" / "mutants.md"
WORDS = "only words that people read"
OVERALL, GATE = 95.0, 100.0
"""Percent that must be killed: of all, and in the gate of those that do something else than the original."""


@dataclass(frozen=True)
class Judged:
    """A mutant of a part of the product, and what became of it."""

    part: str
    mutant: Mutant
    how: str

    @property
    def survived(self) -> bool:
        """Whether no test noticed."""
        return self.how == "survived"

    @property
    def why(self) -> str:
        """Why it may survive; empty when a test is missing."""
        return WORDS if self.mutant.says else reason(self.mutant.key)


def _percent(judged: Sequence[Judged]) -> float:
    return 100 * sum(not one.survived for one in judged) / max(1, len(judged))


def _rows(judged: Sequence[Judged]) -> list[tuple[str, list[Judged]]]:
    parts = list(dict.fromkeys(one.part for one in judged))
    return [*((part, [one for one in judged if one.part == part]) for part in parts), ("all", list(judged))]


def figures(judged: Sequence[Judged], *, minutes: float) -> int:
    """Print the figures; how many targets were missed."""
    print("".join(_lines(judged)))
    print(f"{minutes:.1f} minutes")
    unexplained = [one for one in judged if one.part == "gate" and one.survived and not one.why]
    return (_percent(judged) < OVERALL) + bool(unexplained)


def _lines(judged: Sequence[Judged]) -> list[str]:
    columns = ("part", "mutants", "killed", "%", "survived", "of them words", "equal in effect", "without a test")
    found = [line(columns), line(["---"] * len(columns))]
    for part, mine in _rows(judged):
        alive = [one for one in mine if one.survived]
        words = sum(one.mutant.says for one in alive)
        missing = sum(not one.why for one in alive)
        counts = (len(mine), len(mine) - len(alive), f"{_percent(mine):.1f}", len(alive), words)
        found.append(line([part, *map(str, counts), str(len(alive) - words - missing), str(missing)]))
    return found


def write(judged: Sequence[Judged]) -> None:
    """The figures and the survivors, in place of those of the last time."""
    text = [
        "# Mutants\n\n",
        f"Measured at {commit()} with `make mutants`: each function of the gate, the approvals, the leases and the",
        " digests is broken in every way mutmut knows, and the tests of `tests/gate` must notice.\n\n",
        *_lines(judged),
        "\n## Survivors\n",
    ]
    for why in dict.fromkeys(one.why for one in judged if one.survived):
        text.append(f"\n### {why[:1].upper()}{why[1:]}\n\n" if why else "\n### No test notices\n\n")
        for one in judged:
            if one.survived and one.why == why:
                text.append(f"- `{one.mutant.module}.{one.mutant.function}`\n\n")
                text.append("".join(f"      {diff}\n" for diff in one.mutant.diff.splitlines()) + "\n")
    RESULTS.write_text("".join(text).rstrip() + "\n", "utf-8")
