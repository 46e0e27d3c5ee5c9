"""Keys of both planes: made, changed, revoked."""
