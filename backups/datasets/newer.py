"""Whether a row of D1 was changed after the move to D1: by its time stamp, its type and its zone. Pure: no Django."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from kvops.cloudflare import Cell

TEXT, SECONDS, MILLISECONDS = "time", "time_seconds", "time_milliseconds"
TYPES = (TEXT, SECONDS, MILLISECONDS)
_SHORTEST = len("2025-09-01T00:00")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NewerBy:
    """The time stamp of a row, and the time when the move to D1 was done.

    `type` is one of TYPES. `zone` is for a text without a zone of its own.
    """

    column: str
    type: str
    zone: str
    migrated_at: datetime

    @classmethod
    def of(cls, definition: Mapping[str, object], environment: str) -> Self | None:
        """That of an environment in a definition; None if it names none. Raises ValueError."""
        at, by = definition.get("migrated_at"), definition.get("newer_by")
        if not isinstance(at, Mapping) or not isinstance(by, Mapping) or environment not in at:
            return None
        column, kind, zone = map(str, by[environment])
        return cls(column, kind, zone, moment_of(at[environment]))

    def changed_at(self, kind: str, value: Cell) -> datetime | None:
        """The time in the column; None if it is NULL or no time. `kind` is the first letter of SQLite's typeof."""
        try:
            match kind, value:
                case "t", str() if len(value) >= _SHORTEST:
                    found = datetime.fromisoformat(value)
                    return (found if found.tzinfo else found.replace(tzinfo=ZoneInfo(self.zone))).astimezone(UTC)
                case (("i" | "r"), (str() | int() | float())) if self.type != TEXT:
                    return _EPOCH + timedelta(**{"seconds" if self.type == SECONDS else "milliseconds": float(value)})
        except (ValueError, OverflowError):
            pass
        return None

    def not_newer_sql(self) -> str:
        """The condition over `t` that a row was not changed after the move.

        SQLite knows no zone by name, so a text without a zone counts as late as it may be.
        """
        column, late = f't."{self.column}"', 0 if self.zone == "UTC" else 12 * 3600
        unit = 1000 if self.type == MILLISECONDS else 1
        limit = int(self.migrated_at.timestamp())
        text = f"CASE WHEN typeof({column}) = 'text' THEN unixepoch({column}) + {late} ELSE {column} / {unit} END"
        return f"NOT coalesce({text} > {limit}, 0)"

    def newer(self, kind: str, value: Cell) -> datetime | None:
        """The time in the column if it is later than the move; else None, also for NULL."""
        found = self.changed_at(kind, value)
        return found if found is not None and found > self.migrated_at else None


def moment_of(text: object) -> datetime:
    """A time with a zone. Raises ValueError for any other text."""
    found = datetime.fromisoformat(str(text))
    if found.tzinfo is None:
        raise ValueError("no zone")
    return found


def is_zone(name: str) -> bool:
    """Whether it is the name of a zone, such as UTC or Asia/Tokyo."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
