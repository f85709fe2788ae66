"""Code references: searches of code for the keys it uses, the code that is deployed, and whether the two agree.

`search` finds the references in a checkout or in a downloaded script, and `report` is the file that travels. Both are
pure. `store` keeps searches with their hits.
"""
