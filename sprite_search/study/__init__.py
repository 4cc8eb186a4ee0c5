"""Studies: the ledger of what was asked and found, and the search that fills it."""
