"""What providers are spoken to with."""
