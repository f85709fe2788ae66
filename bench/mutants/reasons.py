"""Mutants that do the same as the original, so that no test can notice."""

REASONS: dict[str, str] = {}
"""Why, and the texts of which each tells such mutants."""


def reason(key: str) -> str:
    """Why the mutant of this description does the same; empty when it does not."""
    return next((why for text, why in REASONS.items() if text in key), "")
