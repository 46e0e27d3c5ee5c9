"""Real clients through a running gateway, from the first request to the row in the ledger."""
