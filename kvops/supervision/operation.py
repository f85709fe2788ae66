"""The operation of the supervision: whether background work goes on."""

from kvops.operations.parts import FeatureOperation, Question
from kvops.supervision import work

OPERATION = FeatureOperation(
    answers={Question.RUN_HELD_UP: work.of_run, Question.RUNS_HELD_UP: work.of_all_runs},
)
