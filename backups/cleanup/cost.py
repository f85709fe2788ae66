"""The cost of a deletion: requests, time at the request limit, Cloudflare's price, and the day's quota.

Counted from the frozen names and their backup alone, so that it can be derived again. It is on the stage's page and
part of the evidence. Repeats, values that must be read singly and the check against D1 come on top.
"""

from backups.models import CleanupStage, Generation
from kvops import timing
from kvops.cloudflare import BULK_GET_LIMIT
from kvops.connections import prices
from kvops.models import Environment, Read

FIRST_CHUNK = 100
CHUNK = 1000
CHUNK_BYTES = 20 * 1024 * 1024
EXACT_CHUNK = 10
LISTINGS = 2
PAGE = 1000
"""Names per page of a listing."""


def of_deletion(stage: CleanupStage, generation: Generation) -> prices.Cost:
    """The cost of the re-reads, the deletes and the two listings of a stage with frozen names and a backup."""
    names, exact = stage.names, generation.read == Read.EXACT
    size = EXACT_CHUNK if exact else FIRST_CHUNK if stage.environment.plan == Environment.Plan.FREE else CHUNK
    rest = max(0, names - min(size, FIRST_CHUNK))
    chunks = max(bool(names) + _up(rest, size), _up(generation.bytes, CHUNK_BYTES))
    reads = 2 * names if exact else max(chunks, _up(names, BULK_GET_LIMIT))
    lists = LISTINGS * max(1, _up(names, PAGE))
    requests = reads + chunks + lists
    return prices.Cost(
        operations={"read": 2 * names if exact else names, "delete": names, "list": lists},
        requests=requests,
        seconds=prices.seconds_for(requests, calls=timing.BUDGET_CALLS, window=timing.BUDGET_WINDOW),
    )


def first_chunk(stage: CleanupStage) -> int:
    """The most keys of the first chunk, after which a deletion in production waits for a person."""
    exact = stage.generation is not None and stage.generation.read == Read.EXACT
    return EXACT_CHUNK if exact else FIRST_CHUNK


def shown(stage: CleanupStage, generation: Generation) -> dict[str, object]:
    """The cost in the form of the evidence and of the stage's page."""
    cost = of_deletion(stage, generation)
    return {
        "plan": stage.environment.plan,
        "requests": cost.requests,
        "seconds": cost.seconds,
        "reads": cost.operations["read"],
        "deletes": cost.operations["delete"],
        "lists": cost.operations["list"],
        "millicents": cost.millicents,
        "free_days": cost.free_days,
    }


def _up(count: int, size: int) -> int:
    """The number of pieces of this size for so many items."""
    return -(-count // size)
