"""Shared by the views of every feature.

`acting` carries out a person's step on a page and shows a refusal. `files` streams tables as CSV and JSON. `fields`
and `paging` hold the fields of filters and the pages of a list. `live` renders the part of a page that a run moves.
Nothing here knows a feature.
"""
