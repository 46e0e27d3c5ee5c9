"""Clients: the connection to one, and the APIs of Bedrock and Vertex that it may speak."""
