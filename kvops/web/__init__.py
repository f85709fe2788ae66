"""Shared by the views of every feature.

`acting` carries out a person's step on a page and shows a refusal. `files` streams tables as CSV and JSON. `fields`
holds the fields of filters. `pages` has the pages of a list, and renders the part of a page that a run moves. Nothing
here knows a feature.
"""
