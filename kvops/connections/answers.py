"""Answers of Cloudflare: counts by call, status and time for the metrics, and refused tokens.

Threads only note; `keep` uses the database and belongs to the main thread, when the client is closed. A killed
process forgets at most what its open clients noted.
"""

from collections import defaultdict
from http import HTTPStatus
from threading import Lock

from django.db import connection

from kvops.cloudflare import OperationMeter
from kvops.connections import refused_tokens
from kvops.models import Environment

WITHIN = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, float("inf"))
"""Seconds. The upper bounds of the counted times, as of a Prometheus histogram."""

_KEEP = """
INSERT INTO kvops_answercount (route, status, within, answers, seconds) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (route, status, within) DO UPDATE SET
  answers = kvops_answercount.answers + excluded.answers, seconds = kvops_answercount.seconds + excluded.seconds
"""


class Answers:
    """The meter of one client with one token: it passes counts on, and keeps the answers."""

    def __init__(self, meter: OperationMeter, environment: Environment, reference: str) -> None:
        self._meter = meter
        self._environment = environment
        self._reference = reference
        self._noted: dict[tuple[str, int, float], list[float]] = defaultdict(lambda: [0, 0.0])
        self._refused: dict[str, int] = {}
        self._lock = Lock()

    def count(self, operation: str, keys: int) -> None:
        """As the meter. Raises DailyLimitReached."""
        self._meter.count(operation, keys)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Note an answer."""
        within = next(bound for bound in WITHIN if seconds <= bound)
        with self._lock:
            noted = self._noted[route, status, within]
            noted[0] += 1
            noted[1] += seconds

    def refused(self, route: str, status: int) -> None:
        """Note that the token was refused."""
        with self._lock:
            self._refused[route] = status

    def keep(self) -> None:
        """Store the meter's counts and the answers. Note that the token is refused, or accepted again."""
        self._meter.keep()
        with self._lock:
            noted, self._noted = self._noted, defaultdict(lambda: [0, 0.0])
            refused, self._refused = self._refused, {}
        if not noted:
            return
        with connection.cursor() as cursor:
            # In one order, so that two processes never wait for each other.
            cursor.executemany(_KEEP, [(*key, *values) for key, values in sorted(noted.items())])
        if self._environment.pk is None:
            return  # `apply_environments` asks Cloudflare before the environment has a row
        if refused:
            refused_tokens.note_refused(self._environment, self._reference, refused)
        elif good := {route for route, status, _within in noted if status == HTTPStatus.OK}:
            refused_tokens.note_accepted(self._environment, self._reference, good)
