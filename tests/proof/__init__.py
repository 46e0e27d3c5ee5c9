"""What farebox promises about money, proven through the whole gateway, its processes and their deaths."""
