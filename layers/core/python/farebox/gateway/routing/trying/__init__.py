"""What one try at a target takes: sending, waiting for its first content, and what its failure counts as."""
