"""What one request uses and holds while it runs, and what becomes of it in the books."""
