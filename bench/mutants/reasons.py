"""Mutants that do the same as the original, so that no test can notice."""

import re

REASONS: dict[str, str] = {
    r'- (.*select_related\(.*?)"\w+"(?:, )?(.*)\n\+ \1\2$': "the same rows, read one by one instead of in one query",
    r"_recorded: - .*\[:2\]\)\n.*\[:3\]\)": "two entries are one too many, and so are three",
}
"""A pattern of the mutants that do the same, and why. They are not tried: a test would have to be wrong to notice."""


def reason(key: str) -> str:
    """Why the mutant of this description does the same; empty when it does not."""
    return next((why for pattern, why in REASONS.items() if re.search(pattern, key)), "")
