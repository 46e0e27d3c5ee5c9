"""Routes of policy."""
