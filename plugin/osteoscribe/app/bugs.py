"""Where an unexpected exception came from, in words that hold no received data."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType


def trace_of(error: BaseException) -> str:
    """Type and call places of an exception, without its message: a message may quote received text.

    Examples
    --------
    >>> try:
    ...     int("a patient's name")
    ... except ValueError as error:
    ...     "patient" in trace_of(error)
    False
    """
    places: list[str] = []
    step: TracebackType | None = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        places.append(f"{Path(code.co_filename).stem}.{code.co_name}:{step.tb_lineno}")
        step = step.tb_next
    return f"{type(error).__name__} at {' > '.join(places[-6:])}"
