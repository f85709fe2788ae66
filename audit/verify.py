"""The check of the whole stored chain, in memory that does not grow with it."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Subquery
from django.db.transaction import atomic

from audit import claims
from audit.chain import ChainProblem, Link, problems
from audit.models import Entry, Head

MAX_PROBLEMS = 100  # kept, so that a chain with faults everywhere does not fill the memory
CHUNK = 500  # entries fetched at a time


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of the check: the number of entries read, and the first MAX_PROBLEMS problems.

    `heads` is the number of heads kept elsewhere that were compared, `unread` names what could not be compared.
    """

    entries: int
    head_sequence: int
    head_hash: str
    problems: tuple[ChainProblem, ...]
    heads: int = 0
    unread: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the check found no problem."""
        return not self.problems


def verify() -> VerifyReport:
    """Recompute every hash up to the head, then compare the log with what other tables and the manifests say."""
    with atomic():  # a server-side cursor needs a transaction
        head = Head.objects.first()
        if head is None:
            return VerifyReport(0, 0, "", (ChainProblem(0, "the head of the chain is missing"),))
        walk = _Walk(head)
        head_hash = bytes(head.hash)
        found: list[ChainProblem] = []
        for problem in problems(walk, head_sequence=head.seq, head_hash=head_hash):
            if len(found) < MAX_PROBLEMS:
                found.append(problem)
        beyond = Entry.objects.filter(seq__gt=Subquery(Head.objects.values("seq")))
        stray = beyond.order_by("seq").first()
        if stray is not None and len(found) < MAX_PROBLEMS:
            found.append(ChainProblem(stray.seq, "the entry lies beyond the head"))
    compared = claims.compare()
    found += compared.problems[: MAX_PROBLEMS - len(found)]
    return VerifyReport(
        walk.entries, head.seq, head_hash.hex(), tuple(found), heads=compared.heads, unread=compared.unread
    )


class _Walk:
    """The stored entries up to a head, in order, counted while they are read."""

    def __init__(self, head: Head) -> None:
        # Leave entries written after the head was read to the next check.
        self._stored = Entry.objects.filter(seq__lte=head.seq).order_by("seq")
        self.entries = 0

    def __iter__(self) -> Iterator[Link]:
        for entry in self._stored.iterator(chunk_size=CHUNK):
            self.entries += 1
            yield entry.link()
