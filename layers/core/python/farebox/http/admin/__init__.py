"""The admin plane: FastAPI routes over the ports, for the CLI and for Portkey's clients."""
