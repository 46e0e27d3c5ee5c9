"""One request, step by step and as a whole."""
