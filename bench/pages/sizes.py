"""How many rows an installation has, and when each of them was made. Everything follows from the number of keys."""

from dataclasses import dataclass

SMALL = 10_000
"""Keys and runs of the installation that the other is held against."""
DAYS = 5 * 365
"""Age of both installations. Runs are spread over it evenly, but for the last 31 days of the small one."""
TODAY, MONTH = 480, 3_000
"""The fewest runs of the last day, and of the 30 days before it, so that pages of the last month are full."""


@dataclass(frozen=True)
class Sizes:
    """The rows of an installation with so many keys."""

    keys: int

    @property
    def runs(self) -> int:
        """Runs: in each 20 of them 8 scans, 2 backups and their 2 verifications."""
        return max(SMALL, self.keys // 10)

    @property
    def entries(self) -> int:
        """Entries of the audit log, ten for each run."""
        return 10 * self.runs

    @property
    def today(self) -> int:
        """Runs of the last day."""
        return max(TODAY, self.runs // DAYS)

    @property
    def month(self) -> int:
        """Runs of the 30 days before."""
        return max(MONTH, 30 * self.runs // DAYS)

    @property
    def backups(self) -> int:
        """Backups, of which those of the last two months still exist, and of one family those of a year."""
        return self.runs // 10

    @property
    def scans(self) -> int:
        """Scans."""
        return self.runs * 2 // 5

    @property
    def approvals(self) -> int:
        """Decided requests."""
        return max(120, self.runs // 100)

    @property
    def cleanups(self) -> int:
        """Completed clean-ups, each with a stage in both environments."""
        return max(60, self.runs // 500)

    def at(self, run: str) -> str:
        """The SQL of the moment of a run, given the expression of its number from 0 on."""
        lately, old = self.runs - self.today, self.runs - self.today - self.month
        return f"""(%(now)s::timestamptz - CASE
            WHEN {run} > {lately} THEN interval '1 day' * (({self.runs} - {run})::float / {self.today})
            WHEN {run} > {old} THEN interval '1 day' + interval '30 days' * (({lately} - {run})::float / {self.month})
            ELSE interval '31 days' + interval '{DAYS - 31} days' * (({old} - {run})::float / {old}) END)"""

    def seconds_before(self, run: float) -> float:
        """The same moment, as seconds before the filling."""
        day, lately, old = 86_400.0, self.runs - self.today, self.runs - self.today - self.month
        if run > lately:
            return day * (self.runs - run) / self.today
        if run > old:
            return day + 30 * day * (lately - run) / self.month
        return 31 * day + (DAYS - 31) * day * (old - run) / old
