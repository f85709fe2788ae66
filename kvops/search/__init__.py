"""One search over everything that has a page: the palette of each page, and `/search/`.

`matching` reads what a person typed, and finds the rows of each kind of subject as its feature says. `keys` finds keys
by name, from the inventory. `results` puts it together in few queries. It reads no value of a key.
"""
