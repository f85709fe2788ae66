"""What became of the mutants: the figures by part and by module, and each survivor with the reason."""

import ast
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from bench.mutants.making import Mutant
from bench.mutants.reasons import reason
from bench.place import ROOT
from bench.table import at, commit, line

RESULTS = ROOT / "bench" / "results" / "mutants.md"
WORDS = "only words that people read"
COUNTS = ("mutants", "killed", "%", "survived", "of them words", "equal in effect", "without a test")
INTRODUCTION = """# Mutants

Measured with `make mutants`: each function of the gate, the approvals, the leases, the digests, and the guards of
restores, bulk changes, 1Password, clearing, changes and families is broken in every way
mutmut knows, and the tests of `tests/gate` must notice. `PARTS` in `bench/mutants/__main__.py` names the functions. A
module's row is of the last time that all its mutants were judged. A `*` at the commit: only the functions that changed
since the time before were judged again there. Below the table stands each survivor, with the reason.

"""
OVERALL = 95.0
"""Percent that must be killed of all."""
GUARDS = frozenset({"gate", "restores", "bulk", "outside", "unchanged", "vault", "clearing", "changes", "families"})
"""The parts of which every mutant must be killed that does something else than the original."""


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
    unexplained = [one for one in judged if one.part in GUARDS and one.survived and not one.why]
    return (_percent(judged) < OVERALL) + bool(unexplained)


def _lines(judged: Sequence[Judged]) -> list[str]:
    columns = ("part", *COUNTS)
    rows = [line([part, *_counts(mine)]) for part, mine in _rows(judged)]
    return [line(columns), line(["---"] * len(columns)), *rows]


def _counts(judged: Sequence[Judged]) -> list[str]:
    alive = [one for one in judged if one.survived]
    words = sum(one.mutant.says for one in alive)
    missing = sum(not one.why for one in alive)
    counts = (len(judged), len(judged) - len(alive), f"{_percent(judged):.1f}", len(alive), words)
    return [*map(str, counts), str(len(alive) - words - missing), str(missing)]


def unchanged(module: str) -> set[str]:
    """The functions of a module that were judged at the commit of its row and are the same now."""
    rows, _ = _kept()
    *_, missing, before = rows[module].strip("| \n").split(" | ") if module in rows else ("", "0", "")
    before, path = before.rstrip("*+"), f"{module.replace('.', '/')}.py"
    if not before or missing != "0":
        return set()
    then, now = _functions(at(before, path)), _functions((ROOT / path).read_text("utf-8"))
    named = _named(at(before, "bench/mutants/__main__.py"), module)
    return {name for name, code in now.items() if then.get(name) == code and (not named or name in named)}


def _functions(source: str) -> dict[str, str]:
    """The code of each function and method, without comments."""
    found = {}
    for one in ast.parse(source).body:
        inner = [(f"{one.name}.", each) for each in one.body] if isinstance(one, ast.ClassDef) else [("", one)]
        found.update({f"{of}{each.name}": ast.dump(each) for of, each in inner if isinstance(each, ast.FunctionDef)})
    return found


def _named(source: str, module: str) -> set[str]:
    """The functions of the module that `PARTS` named in this source; none when it named all."""
    [parts] = [
        ast.literal_eval(one.value)
        for one in ast.parse(source).body
        if isinstance(one, ast.AnnAssign) and one.value and ast.unparse(one.target) == "PARTS"
    ]
    lists = [set(modules[module]) for modules in parts.values() if module in modules]
    return set().union(*lists) if all(lists) else set()


def write(judged: Sequence[Judged], all_: Iterable[Mutant], carried: Collection[str] = ()) -> None:
    """The figures and the survivors of the modules judged as a whole, in place of those of the last time.

    `carried` are the mutants whose verdict is of the time before.
    """
    rows, survivors = _kept()
    keys = {one.mutant.key for one in judged}
    partly = {mutant.module for mutant in all_ if mutant.key not in keys}
    for module in {one.mutant.module for one in judged} - partly:
        mine = [one for one in judged if one.mutant.module == module]
        partly_at = "*" if any(one.mutant.key in carried for one in mine) else ""
        rows[module] = line([f"`{module}`", *_counts(mine), f"{commit()}{partly_at}"])
        survivors[module] = "".join(_survivor(one) for one in mine if one.survived)
    columns = ("module", *COUNTS, "measured at")
    text = [INTRODUCTION, line(columns), line(["---"] * len(columns)), *(rows[module] for module in sorted(rows))]
    text += [f"\n## `{module}`\n\n{survivors[module].rstrip()}\n" for module in sorted(rows) if survivors.get(module)]
    RESULTS.write_text("".join(text), "utf-8")


def _kept() -> tuple[dict[str, str], dict[str, str]]:
    """The row and the survivors of each module, as the last time left them."""
    table, *sections = RESULTS.read_text("utf-8").split("\n## `")
    rows = {row.split("`")[1]: f"{row}\n" for row in table.splitlines() if row.startswith("| `")}
    return rows, dict(one.split("`\n\n", 1) for one in sections)


def _survivor(one: Judged) -> str:
    diff = "".join(f"      {changed}\n" for changed in one.mutant.diff.splitlines())
    return f"- `{one.mutant.function}`: {one.why or 'no test notices'}\n\n{diff}\n"
