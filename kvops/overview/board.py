"""The table of the families: backups, agreement with D1, and numbers of keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kvops.models import Environment, Family
from kvops.overview.coming import ComingEvent
from kvops.overview.estate import Holdings
from kvops.overview.key_alarms import Alarm

SHOWN = 12
"""Families. The others fold."""
HEIGHT = 14
"""Pixels of the drawing of a strip."""


@dataclass(frozen=True)
class Strip:
    """The last 14 days, oldest first: whether the family could be restored at the end of each day.

    A day is on_time, late (only to an older state than the interval of the family says) or none.
    """

    days: Sequence[str]

    @property
    def on_time(self) -> int:
        """The days on time."""
        return self.days.count("on_time")

    @property
    def late(self) -> int:
        """The late days."""
        return self.days.count("late")

    @property
    def none(self) -> int:
        """The days without a backup."""
        return self.days.count("none")

    @property
    def marks(self) -> Sequence[tuple[str, str]]:
        """For each state its marks as a path: high ones for on time, lower ones for late, the lowest for none."""
        tops = {"on_time": 0, "late": 5, "none": 11}
        paths = {
            state: "".join(f"M{at * 5} {top}h4v{HEIGHT - top}h-4z" for at, day in enumerate(self.days) if day == state)
            for state, top in tops.items()
        }
        return [(state, path) for state, path in paths.items() if path]


@dataclass(frozen=True)
class ShownBackup:
    """A backup of the table. `fate` is empty while it exists, else the state that it has today."""

    pk: int
    started_at: datetime
    verified_at: datetime | None
    fate: str = ""


@dataclass(frozen=True)
class FamilyCell:
    """A family in one environment; `holdings` is None if nothing is bound there.

    `expected` says whether a backup is expected; on a page of a past day, whether one was, or was there all the same.
    """

    environment: Environment
    holdings: Holdings | None
    keys: int | None = None
    keys_url: str = ""
    backup: ShownBackup | None = None
    expected: bool = False
    light: str = "unexpected"
    short: bool = False
    strip: Strip | None = None
    back_up_url: str = ""

    @property
    def offers_backup(self) -> bool:
        """Whether there is no backup, or only an overdue one, but could be one: of a cache none is needed."""
        return bool(self.back_up_url) and (self.backup is None or self.light == "overdue")


@dataclass(frozen=True)
class D1Result:
    """The newest check of a family's keys against D1 in one environment: equal, differs or never."""

    environment: Environment
    state: str
    differences: int
    url: str


@dataclass(frozen=True)
class Forever:
    """The keys of a family without an expiration in one environment."""

    environment: Environment
    keys: int
    url: str


@dataclass(frozen=True)
class FamilyLine:
    """A line of the table; without a family, of the keys that have none."""

    family: Family | None
    binding: str
    cells: Sequence[FamilyCell]
    agreements: Sequence[D1Result] = ()
    forever: Sequence[Forever] = ()

    @property
    def agreements_shown(self) -> Sequence[D1Result]:
        """The checks with the worst result, production's first; one for all if all have the same and none differs."""
        worst = next(
            (one for one in ("differs", "never") if any(each.state == one for each in self.agreements)), "equal"
        )
        found = [each for each in self.agreements if each.state == worst]
        found.sort(key=lambda one: not one.environment.production)
        return found[:1] if worst != "differs" and len(found) == len(self.agreements) else found

    @property
    def names_environments(self) -> bool:
        """Whether the result of the checks differs by environment."""
        return len({each.state for each in self.agreements}) > 1 or len(self.agreements_shown) > 1

    @property
    def expected(self) -> bool:
        """Whether a backup is expected in any environment."""
        return any(cell.expected for cell in self.cells)

    @property
    def restorable(self) -> bool:
        """Whether there is a backup wherever one is expected."""
        return all(cell.backup for cell in self.cells if cell.expected)

    @property
    def keys(self) -> int:
        """The keys in all environments."""
        return sum(cell.keys or 0 for cell in self.cells)


@dataclass(frozen=True)
class Board:
    """The lines of all families and those of the keys without one, with the alarms and events of backups."""

    lines: Sequence[FamilyLine]
    unclassified: Sequence[FamilyLine]
    alarms: Sequence[Alarm] = ()
    coming: Sequence[ComingEvent] = ()

    @property
    def shown(self) -> Sequence[FamilyLine]:
        """The first lines, and those of the keys without a family."""
        return [*self.lines[:SHOWN], *self.unclassified]

    @property
    def more(self) -> Sequence[FamilyLine]:
        """The lines that fold."""
        return self.lines[SHOWN:]

    @property
    def expected(self) -> Sequence[FamilyLine]:
        """The families of which backups are expected."""
        return [line for line in self.lines if line.expected]

    @property
    def restorable(self) -> Sequence[FamilyLine]:
        """Those of them that can be restored in every environment."""
        return [line for line in self.expected if line.restorable]

    @property
    def emptied(self) -> Sequence[FamilyLine]:
        """The families without keys that have a backup, such as after a clean-up: none is expected, none is lost."""
        return [
            line for line in self.lines if not line.expected and not line.keys and any(one.backup for one in line.cells)
        ]

    @property
    def still_there(self) -> int:
        """The number of restorable families all of whose backups exist today."""
        cells = ([cell.backup for cell in line.cells if cell.expected] for line in self.restorable)
        return sum(not any(backup.fate for backup in backups if backup) for backups in cells)

    @property
    def oldest(self) -> datetime | None:
        """The time of the oldest of the newest backups."""
        cells = [cell for line in self.restorable for cell in line.cells if cell.expected]
        return min((cell.backup.started_at for cell in cells if cell.backup), default=None)
