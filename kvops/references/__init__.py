"""Code references: where source code mentions keys.

`search` finds them in a checkout or in a downloaded script, and `report` is the file that travels. Both are pure.
"""
