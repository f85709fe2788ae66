"""Template tags: the parts of a page that belong to another feature.

Pages that show several features are composed by these tags, not by imports between features. `backups` shows backups
and clean-ups on the pages of `kvops`.
"""
