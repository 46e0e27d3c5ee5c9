"""Commands that talk to a running gateway's admin plane."""
