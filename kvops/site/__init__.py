"""The frame of every page: menu, theme, language, error pages, health.

`headers` is the middleware that keeps pages out of caches. `readonly` is the middleware that refuses changes while a
bucket shows a rollback of the database (`kvops.rollback`).
"""
