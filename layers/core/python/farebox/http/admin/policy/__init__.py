"""Pieces of policy over HTTP: applied as a file, edited one by one, configs with their versions."""
