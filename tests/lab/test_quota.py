"""A volume quota under load, on a real node that is killed and restarted meanwhile."""

import tempfile

import pytest

from node.relay.quota import MIN_SLICE, SLICES, Quota
from simulations.lab.quota_run import run_out

pytestmark = pytest.mark.lab


async def test_neither_a_crash_nor_a_restart_lets_more_pass_or_much_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/dev/shm")  # a disk would take most of the time
    quota = Quota.parse("100MB/day")
    killed, stopped, used_up = await run_out(quota)
    for stage in (killed, stopped, used_up):
        assert stage.passed <= stage.counted <= quota.size
    assert killed.passed > 0.3 * quota.size
    # What a crash costs is two slices; who is told to stop writes down what was used.
    lost = killed.counted - killed.passed
    assert lost <= 2 * max(quota.size // SLICES, MIN_SLICE)
    assert stopped.counted - stopped.passed == lost
    assert used_up.passed >= 0.997 * quota.size
