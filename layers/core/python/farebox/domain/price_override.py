"""Where `farebox.domain.price` keeps negotiated prices, under the name that `config` imports."""

from farebox.domain.price.override import PriceOverride, read_override

__all__ = ["PriceOverride", "read_override"]
