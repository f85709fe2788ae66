"""`/metrics`: the numbers of the product for Prometheus, read from the database at each scrape.

All processes share the database, so each web process gives the same numbers, and a killed process loses none. Labels
never hold the name of a key. `docs/monitoring/` has alert rules and a dashboard, and a test checks their metrics.
"""
