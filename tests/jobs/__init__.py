"""What runs behind the request."""
