"""Step between limit and reserve: an answer that was given before is given again, and a new one is kept."""
