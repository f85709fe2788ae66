"""The operation of the history: what KVOps knows of keys that it changed or deleted."""

from backups.history import deleted_keys, key_story
from kvops.operations.parts import FeatureOperation, Question

OPERATION = FeatureOperation(
    answers={Question.KEY_EVENTS: key_story.events, Question.DELETED_KEYS: deleted_keys.found},
)
