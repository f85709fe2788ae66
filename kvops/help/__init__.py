"""Help that every alarm and message links to (`/help/`): each alarm with its next step, and each word of the product.

The texts are `en.md` and `ja.md`. `{#code}` at the end of a heading or of a word is its anchor. The code of an alarm is
that of its notification (`NotificationEvent`) where it has one.
"""
