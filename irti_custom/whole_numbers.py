"""What counts as a whole number, wherever one is expected.

3, np.int64(3), 3.0, a tensor of one  ->  3
True, 2.5, NaN, "3", None             ->  no whole number
"""

from __future__ import annotations

from numbers import Integral, Real


def as_integer(value: object) -> int | None:
    """Return a whole number as an `int`; None for anything else, booleans included.

    Args:
        value: a number of Python or NumPy, or an array or tensor without dimensions.

    Example:
        >>> as_integer(3.0), as_integer(True), as_integer("3")
        (3, None, None)
    """
    if type(value) is int:
        return value
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    if isinstance(value, Integral):
        return int(value)
    return int(float(value)) if float(value).is_integer() else None


def check_count(name: str, value: object) -> int:
    """Return a number of things, at least one, as an `int`.

    Raises:
        ValueError: it is none.

    Example:
        >>> check_count("batch_size", 16.0)
        16
    """
    count = as_integer(value)
    if count is None or count < 1:
        raise ValueError(f"`{name}` must be a whole number of at least 1, got {value!r}.")
    return count
