"""The operation of the overview: the table of the families."""

from backups.overview import families
from kvops.operations.parts import FeatureOperation

OPERATION = FeatureOperation(board=families.board)
