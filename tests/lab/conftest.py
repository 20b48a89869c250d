"""The lab for tests: opened for each, and gone after it."""

import os
from collections.abc import AsyncIterator

import pytest

from simulations.lab.netns import Lab, LabUnavailableError, open_lab


def may_skip() -> bool:
    """Root always can, and CI always must, have a lab."""
    return os.geteuid() != 0 and "CI" not in os.environ


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    try:
        async with open_lab() as lab:
            yield lab
    except LabUnavailableError as error:
        if may_skip():
            pytest.skip(str(error))
        raise
