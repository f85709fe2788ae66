"""HTTP dates, and the clock of the server that answers with them."""

import time
from datetime import UTC
from email.utils import parsedate_to_datetime


def moment(header: str) -> float | None:
    """An HTTP date in seconds since 1970; None if the header is not a date."""
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class RemoteClock:
    """The clock of a server, by the `Date` of its newest answer."""

    def __init__(self) -> None:
        self._heard: tuple[float, float] | None = None

    def hear(self, date: str) -> None:
        """Take the `Date` of an answer that has just arrived; a header that is not a date is ignored."""
        if (said := moment(date)) is not None:
            self._heard = (said, time.monotonic())

    def time(self) -> float | None:
        """The server's time, in seconds since 1970; None before the first answer with a `Date`."""
        if self._heard is None:
            return None
        said, at = self._heard
        return said + time.monotonic() - at
