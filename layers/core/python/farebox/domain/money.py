"""Money as integers of picodollars (1e-12 USD), and how it is read and shown."""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow

PICODOLLARS_PER_USD = 10**12


def picodollars_from_usd(amount: str | int | Decimal) -> int:
    """Read a decimal amount of US dollars exactly.

    Raises `ValueError` for anything that is not a finite decimal or is finer than a picodollar.
    """
    exact = Context(prec=60, Emax=60, traps=[InvalidOperation, Overflow, Inexact])
    try:
        scaled = exact.to_integral_exact(exact.scaleb(Decimal(amount), 12))
    except (InvalidOperation, Overflow):
        raise ValueError(f"{amount!r} is not an amount in USD") from None
    except Inexact:
        raise ValueError(f"{amount!r} has more than 12 decimals") from None
    if not scaled.is_finite():
        raise ValueError(f"{amount!r} is not an amount in USD")
    return int(scaled)


def usd_text(picodollars: int) -> str:
    """Show an amount as an exact decimal string without trailing zeros: '0.0116', '12', '-3.5'."""
    sign = "-" if picodollars < 0 else ""
    whole, fraction = divmod(abs(picodollars), PICODOLLARS_PER_USD)
    digits = f"{fraction:012d}".rstrip("0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def usd_exact_text(picodollars: int) -> str:
    """Show an exact amount for people, cents always written: '$0.20', '$0.0941392', '-$3.50'."""
    text = usd_text(abs(picodollars))
    whole, _, fraction = text.partition(".")
    return f"{'-' if picodollars < 0 else ''}${whole}.{fraction.ljust(2, '0')}"


def usd_short_text(picodollars: int) -> str:
    """Show an amount for people: two decimals from one cent up, four significant digits below."""
    sign, amount = ("-", -picodollars) if picodollars < 0 else ("", picodollars)
    usd = Decimal(amount).scaleb(-12)
    if amount >= PICODOLLARS_PER_USD // 100 or amount == 0:
        return f"{sign}${usd:.2f}"
    rounded = usd.quantize(Decimal(1).scaleb(usd.adjusted() - 3))
    return f"{sign}${rounded:f}".rstrip("0")
