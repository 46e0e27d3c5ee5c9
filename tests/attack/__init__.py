"""What a hostile caller, provider or terminal would try."""
