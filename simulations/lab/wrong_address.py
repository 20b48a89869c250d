"""A relay that lies: `python -m simulations.lab.wrong_address HOST run ...`.

It is `jingle-nodes run`, but says of the channels that it grants that they are at that host.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from unittest.mock import patch

from node.cli import main
from node.relay.grants import ChannelGrant
from node.relay.relay import RelayService

_request_channel = RelayService.request_channel


def lie(host: str) -> None:
    """Be `jingle-nodes`, with the arguments that follow the host."""

    async def request_channel(relay: RelayService, requester: str) -> ChannelGrant:
        return replace(await _request_channel(relay, requester), host=host, host6=None)

    with patch.object(RelayService, "request_channel", request_channel):
        main()


if __name__ == "__main__":
    lie(sys.argv.pop(1))
