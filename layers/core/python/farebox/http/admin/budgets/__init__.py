"""What budgets stand at over HTTP: their rows, their resets and raises."""
