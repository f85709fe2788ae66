"""One search over everything that has a page: the palette of each page, and `/search/`.

`kinds` has the groups of results and the function that finds the rows of each kind of subject. `matching` reads what a
person typed. `keys` finds keys by name, from the inventory. `results` puts it together in few queries. It reads
no value of a key.
"""
