"""The ways in which a step ends: `Again`, `Done`, and the errors that fail, delay or stop a run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from audit.chain import JSON
from kvops.wording import Words, sentence_of

TOKEN_REFUSED = "token_refused"  # noqa: S105  (a code)
"""The code of a run that failed because a service refused the secret behind a reference."""


class _StepEnd(Exception):
    """The end of a step with a sentence for people, which is English as text."""

    def __init__(self, words: Words = "") -> None:
        super().__init__(sentence_of(words))


class RunError(_StepEnd):
    """The work cannot go on; `code` is for machines, the message is one sentence for people.

    A sentence with facts is one of `wording.say` or of another error, so that each reader gets their language.
    """

    def __init__(self, code: str, words: Words) -> None:
        super().__init__(words)
        self.code = code


class TryLater(_StepEnd):
    """An outside service does not answer; the run waits and tries again, a limited number of times."""


class LeaseLost(Exception):
    """Another worker owns the run now; nothing more may be written or sent for it."""


class Stopped(_StepEnd):
    """A person asked the run, or everything in its environment, to stop. The latter has a code and a sentence."""

    def __init__(self, code: str = "", words: Words = "") -> None:
        super().__init__(words)
        self.code = code


@dataclass(frozen=True)
class Again:
    """Continue in another step, after `wait` seconds."""

    wait: float = 0.0
    note: Words = ""


@dataclass(frozen=True)
class Done:
    """The work is complete; `result` is shown on the run.

    `sentences` has the template and facts of a text in the result, under the name of the text with `_sentence`.
    """

    result: Mapping[str, JSON] = field(default_factory=dict)
    sentences: Mapping[str, JSON] = field(default_factory=dict)
