"""A procedure as data: its version and its steps."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.functional import Promise

from audit.actions import Action


@dataclass(frozen=True)
class ProcedureStep:
    """One step. It is done once one of the actions `ticks` is recorded about the operation.

    With `production`, the action must be in production, or if False in another environment. An action older than the
    newest of `voided` or of `after` does not count. An `optional` step is not needed by every operation.
    """

    title: str | Promise
    text: str | Promise
    ticks: Sequence[Action]
    production: bool | None = None
    voided: Sequence[Action] = ()
    after: Sequence[Action] = ()
    optional: bool = False


@dataclass(frozen=True)
class Procedure:
    """One version of a procedure."""

    name: str
    version: int
    title: str | Promise
    steps: Sequence[ProcedureStep]
