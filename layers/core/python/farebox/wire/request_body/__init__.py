"""What is read of a request body beside its head, and what a config changes in it."""
