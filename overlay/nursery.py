"""A nursery for the background tasks of an open resource."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio


@asynccontextmanager
async def open_background_nursery() -> AsyncIterator[trio.Nursery]:
    """A nursery that ends with its block, and lets a lone error through as it is.

    Tasks still running at the end of the block are cancelled.
    """
    with lone_errors():
        async with trio.open_nursery() as nursery:
            yield nursery
            nursery.cancel_scope.cancel()


@contextmanager
def lone_errors() -> Iterator[None]:
    """Take an exception that is alone in its nursery's group out of it.

    The nursery is ours; somebody who opens a resource expects the error that he can catch by its
    type.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        error = lone_error(group)
        if error is group:
            raise
        raise error from error.__cause__


def lone_error(error: BaseException) -> BaseException:
    """The only exception within nested groups; the innermost group if it holds several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
