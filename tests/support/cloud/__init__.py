"""Our own Lambda for tests: the Runtime API, environments that freeze, and a function URL that streams."""
