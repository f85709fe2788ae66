"""The tables of backups and clean-up, one module per feature.

They are one layer below all features, because rows of one feature refer to rows of others in both directions. The
docstring of a model lists its states and the allowed moves. Values of keys are never stored, only digests.
"""

from backups.models.bucket import BucketProtection, StagedObject, StoredObject, UnfinishedUpload
from backups.models.bulk_changes import BulkChange
from backups.models.changes import KeyChange
from backups.models.cleanup import CleanupRequest, CleanupStage
from backups.models.clearing import Clearing, ClearingRound
from backups.models.comparisons import Comparison, ComparisonEntry
from backups.models.datasets import Dataset, TypeRule
from backups.models.deletion import CleanupChunk, CleanupEntry, CleanupException, OtherName, Reappearance
from backups.models.drills import Drill, DrilledBackup
from backups.models.generations import BackupShare, Generation, GenerationEntry, GenerationPart, PlainDump
from backups.models.integrity import Check, CheckRow, Difference, DifferenceCase
from backups.models.investigations import Investigation
from backups.models.outside import OutsideChange, OutsideSearch, SettingComparison
from backups.models.restores import Restore, RestoreChunk, RestoreEntry
from backups.models.retention import Pin, PruneEntry, PruneRequest
from backups.models.vault import VaultDocument

__all__ = [
    "BackupShare",
    "BucketProtection",
    "BulkChange",
    "Check",
    "CheckRow",
    "CleanupChunk",
    "CleanupEntry",
    "CleanupException",
    "CleanupRequest",
    "CleanupStage",
    "Clearing",
    "ClearingRound",
    "Comparison",
    "ComparisonEntry",
    "Dataset",
    "Difference",
    "DifferenceCase",
    "Drill",
    "DrilledBackup",
    "Generation",
    "GenerationEntry",
    "GenerationPart",
    "Investigation",
    "KeyChange",
    "OtherName",
    "OutsideChange",
    "OutsideSearch",
    "Pin",
    "PlainDump",
    "PruneEntry",
    "PruneRequest",
    "Reappearance",
    "Restore",
    "RestoreChunk",
    "RestoreEntry",
    "SettingComparison",
    "StagedObject",
    "StoredObject",
    "TypeRule",
    "UnfinishedUpload",
    "VaultDocument",
]
