"""Data contracts: the lake, table schemas, signal measures, thresholds and the ledger."""
