"""Where one request may go: its targets, each at its own price, and what is made of their answers."""
