"""A behaviour that KVOps relies on, the state in which the probe found it, and the report."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING

from backups.bucket.store import NotOffered, StoreError, StoreUnavailable
from backups.probe.allowance import RequestsSpent
from kvops.cloudflare import ApiError, CloudflareError, RateLimited, TransportError

if TYPE_CHECKING:
    from backups.probe.bench import Bench


class ProbeState(StrEnum):
    """The state of one behaviour."""

    EXPECTED = "as expected"
    DIFFERS = "differs"
    UNKNOWN = "not known"


@dataclass(frozen=True)
class ProbeSeen:
    """The observation of one behaviour, in words."""

    state: ProbeState
    words: str


@dataclass(frozen=True)
class Behaviour:
    """One behaviour: its name, the expectation, what breaks if it differs, and how to look."""

    name: str
    expected: str
    breaks: str
    look: Callable[["Bench"], ProbeSeen]


@dataclass(frozen=True)
class ProbeFinding:
    """One row of the report. `consequence` is empty unless the behaviour differs."""

    name: str
    state: ProbeState
    expected: str
    seen: str
    consequence: str = ""


def same(words: str) -> ProbeSeen:
    """The behaviour is as expected."""
    return ProbeSeen(ProbeState.EXPECTED, words)


def differs(words: str) -> ProbeSeen:
    """The behaviour is another one."""
    return ProbeSeen(ProbeState.DIFFERS, words)


def unknown(why: str) -> ProbeSeen:
    """The behaviour could not be seen."""
    return ProbeSeen(ProbeState.UNKNOWN, why)


def judged(good: object, words: str) -> ProbeSeen:
    """As expected if `good`; `words` tell the observation."""
    return same(words) if good else differs(words)


def find(behaviour: Behaviour, bench: "Bench") -> ProbeFinding:
    """Look at one behaviour. A refusal, or an answer of another shape, differs; no answer leaves it unknown."""
    try:
        seen = behaviour.look(bench)
    except (RequestsSpent, RateLimited, TransportError, StoreUnavailable, NotOffered) as error:
        seen = unknown(str(error))
    except ApiError as error:
        server = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        seen = unknown(str(error)) if server else differs(str(error))
    except (CloudflareError, StoreError) as error:
        seen = differs(str(error))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        seen = differs(f"an answer of another shape ({type(error).__name__}: {error})")
    consequence = behaviour.breaks if seen.state is ProbeState.DIFFERS else ""
    return ProbeFinding(behaviour.name, seen.state, behaviour.expected, seen.words, consequence)


def without_keys(behaviour: Behaviour) -> ProbeFinding:
    """The row of a behaviour that cannot be looked at, because the keys for it are not there."""
    why = "The keys for it were not written, or are not listed."
    return ProbeFinding(behaviour.name, ProbeState.UNKNOWN, behaviour.expected, why)


@dataclass(frozen=True)
class ProbeReport:
    """The rows of a probe, with its target, its requests, and the names of what could not be removed."""

    environment: str
    namespace_id: str
    bucket: str
    prefix: str
    findings: Sequence[ProbeFinding]
    requests: int
    left: Sequence[str]
    locked: Sequence[str]
    """Objects that only the end of a bucket lock lets anybody remove."""

    @property
    def ok(self) -> bool:
        """Whether nothing differs and nothing was left behind."""
        return not self.left and not any(one.state is ProbeState.DIFFERS for one in self.findings)

    def counts(self) -> dict[str, int]:
        """The number of rows by state."""
        return {str(state): sum(one.state is state for one in self.findings) for state in ProbeState}

    def as_json(self) -> str:
        """The report as one JSON object."""
        return json.dumps({**asdict(self), "ok": self.ok, "counts": self.counts()}, ensure_ascii=False, indent=2)

    def lines(self) -> Iterable[str]:
        """The report as text."""
        yield f"Probe of {self.environment}: namespace {self.namespace_id}, bucket {self.bucket}, prefix {self.prefix}"
        for one in self.findings:
            yield f"{one.state:<12}{one.name}"
            yield f"            expected: {one.expected}"
            yield f"            seen: {one.seen}"
            if one.consequence:
                yield f"            consequence: {one.consequence}"
        yield (
            ", ".join(f"{number} {state}" for state, number in self.counts().items()) + f"; requests: {self.requests}."
        )
        if self.left:
            yield f"Left behind under {self.prefix}: {', '.join(map(repr, self.left))}"
            yield f"Remove them: repeat the command with --clean {self.prefix}"
        if self.locked:
            yield f"The lock of the bucket keeps {', '.join(map(repr, self.locked))}"
            yield f"When the lock is over, remove them: repeat the command with --clean {self.prefix}"
