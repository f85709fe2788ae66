"""Template tags: `ui` has the building blocks of every page.

`states` gives each state its word, colour and icon. The others belong to one feature and are shown on pages of
several.
"""
