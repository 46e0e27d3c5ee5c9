"""The DynamoDB wing over MiniStack, for what only this wing has."""

from tests.support.ministack import ministack

__all__ = ["ministack"]
