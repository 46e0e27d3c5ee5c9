"""What a request costs: dated rows of data, the rules that multiply them, and negotiated prices."""

from farebox.domain.price.book import ListedModel, PriceBook, Rates
from farebox.domain.price.bounds import dearest, normalised_model
from farebox.domain.price.override import PriceOverride, read_override

__all__ = [
    "ListedModel",
    "PriceBook",
    "PriceOverride",
    "Rates",
    "dearest",
    "normalised_model",
    "read_override",
]
