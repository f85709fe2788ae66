"""The part of backups in the frame of every page: numbers for the menu, and rows for the search.

`kvops.site.badges` and `kvops.search.kinds` name these functions by strings.
"""
