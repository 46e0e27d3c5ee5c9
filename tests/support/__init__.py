"""Builders and hand-made fakes that several tests share."""
