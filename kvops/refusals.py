"""The base class of every refusal, and the sentences of modules without Django.

A view shows the sentence of a refusal and records it, without importing the feature that raised it.
"""


class Refused(Exception):
    """A step was refused and nothing was changed. The message is one sentence with the reason.

    A module without Django gives a `Sentence`; every other module gives a lazy translation.
    """


class Sentence:
    """A sentence with its %(facts)s, which may be sentences too. Without facts, the template is the text itself.

    As text it is English, for commands, files and the audit log. `wording.spoken` has it in the reader's language.
    A module without Django imports the class as `_`, so that the catalogue of translations finds its sentences.
    An error as a fact stands for its sentence, or for its text if it has none.
    """

    def __init__(self, template: str, /, **facts: object) -> None:
        self.template = template
        self.facts = {name: said_by(fact) if isinstance(fact, Exception) else fact for name, fact in facts.items()}

    def __str__(self) -> str:
        return self.template % self.facts if self.facts else self.template


def said_by(error: Exception) -> Sentence:
    """The sentence of an error, or its text if it has none."""
    first = next(iter(error.args), "")
    return first if isinstance(first, Sentence) else Sentence(str(error))
