"""What a row of the torture table is, and which rows there are.

A row breaks the product in one way, many times. Each trial is told by the row's seed and the trial's number alone, so
any of them can be repeated; what it found is a flat dictionary of counts and measurements.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module

from kvops import timing

Found = dict[str, float]
"""What one trial found: a name to a count, or to a measurement."""


@dataclass(frozen=True)
class TortureFigure:
    """One line of the table: `value` is at most (`<=`), at least (`>=`) or exactly (`==`) `bound`; "" to inform."""

    name: str
    value: float
    relation: str = ""
    bound: float = 0.0

    @property
    def target(self) -> str:
        """The target as shown."""
        signs = {"<=": "≤ ", ">=": "≥ ", "==": ""}
        return f"{signs[self.relation]}{self.bound:g}" if self.relation else "-"

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        match self.relation:
            case "<=":
                return self.value <= self.bound
            case ">=":
                return self.value >= self.bound
            case "==":
                return self.value == self.bound
        return True


@dataclass(frozen=True)
class TortureRow:
    """One row: the promises it is for (A2), how many trials the full run has, and how many a run of the tests, or 0.

    `trials(seed, numbers)` runs the trials with these numbers and yields `(number, found)` for each as it ends, in any
    order. `figures(found)` judges all of them together. `scale` is that of the trials' durations where it is not this
    process's.
    """

    name: str
    promises: str
    n: int
    slice: int
    trials: Callable[[int, Sequence[int]], Iterator[tuple[int, Found]]]
    figures: Callable[[Sequence[Found]], list[TortureFigure]]
    scale: float = timing.SCALE


MODULES: tuple[str, ...] = (
    "copies",
    "deletion",
    "restoring",
    "conflicts",
    "hang",
    "torn",
    "approval",
    "mutations",
    "qa_first",
    "misbindings",
    "crashes",
    "kills",
    "rate",
    "races",
    "retention",
    "schedules",
    "messages",
    "differences",
)
"""The modules of this package that hold rows, each in its `ROWS`."""


def rows() -> dict[str, TortureRow]:
    """Every row by its name."""
    found: list[TortureRow] = [row for module in MODULES for row in import_module(f"tests.torture.{module}").ROWS]
    return {row.name: row for row in found}


def total(found: Sequence[Found], name: str) -> float:
    """The sum of a count over the trials."""
    return sum(one.get(name, 0.0) for one in found)
