"""Form fields that several features share."""

from django import forms

from kvops.models import Family


class FamilyField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """A family, named with its binding."""

    def label_from_instance(self, obj: Family) -> str:
        """The family as the policy writes it."""
        return f"{obj.binding} {obj}"
