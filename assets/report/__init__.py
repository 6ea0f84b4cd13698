"""The report of a corpus: figures asked of the tables, kept as profiles over runs, and drawn as one HTML page."""
