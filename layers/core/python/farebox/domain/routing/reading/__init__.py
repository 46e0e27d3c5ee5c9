"""Reads a config, Portkey's JSON, whole: as a tree of targets, with whatever is wrong at its place."""

from farebox.domain.routing.reading.config import ROOT, Reading, config_tree, read_config

__all__ = ["ROOT", "Reading", "config_tree", "read_config"]
