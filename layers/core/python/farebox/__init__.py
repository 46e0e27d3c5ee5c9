"""farebox: a governance gateway for Claude Code that runs on a laptop or in your own AWS account."""

__version__ = "0.1.0"
