"""The answers to a code reference, as a person chooses among them."""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from kvops.models import ReferenceAnswer


class ExplainedAnswers(forms.RadioSelect):
    """Radio buttons with a sentence beside each choice: when it is right, and what follows from it."""

    sentences: Mapping[str, str | Promise] = {
        ReferenceAnswer.Kind.UNRELATED: _(
            "Right if this code never uses these keys: the answer counts in every environment until the code changes, "
            "and nothing is left to do."
        ),
        ReferenceAnswer.Kind.FALLS_BACK: _(
            "Right if this code works without these keys, such as by reading D1 or making the value again: the answer "
            "counts in every environment until the code changes, and you test it before you accept the stage."
        ),
        ReferenceAnswer.Kind.FOLLOW_UP: _(
            "Right if this code must change: it is a to-do of its owner until a later search no longer finds the place."
        ),
    }

    def create_option(self, name: str, value: Any, *more: Any, **named: Any) -> dict[str, Any]:
        """The option with its sentence. A follow-up unfolds its own fields."""
        option = super().create_option(name, value, *more, **named)
        if value == ReferenceAnswer.Kind.FOLLOW_UP:
            option["attrs"]["data-unfolds"] = "follow-up"
        return {**option, "sentence": self.sentences.get(str(value), "")}
