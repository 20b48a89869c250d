"""ejabberd as the server of a relay or of its users, federated with Prosody."""

import pytest

from simulations.lab.ejabberd import start_ejabberd
from simulations.lab.netns import Lab
from simulations.lab.prosody import start_prosody
from tests.lab.sockets import open_sockets
from tests.lab.turn_meeting import meet_over_turn
from tests.lab.world import COMPONENT, World, borrowed, build, holding

pytestmark = pytest.mark.lab


async def talk(world: World, channel: dict[str, object]) -> None:
    """What alice and bob send goes through a channel."""
    alice = await open_sockets(world.lab, world.alice, 1)
    bob = await open_sockets(world.lab, world.bob, 1)
    host, local, remote = (str(channel["host"]), channel["localport"], channel["remoteport"])
    assert isinstance(local, int)
    assert isinstance(remote, int)
    await alice.send(0, (host, local), "hello")
    await bob.send(0, (host, remote), "hello too")
    assert await alice.receive(1) == [(0, "hello too", 9)]
    assert await bob.receive(1) == [(0, "hello", 5)]


async def test_a_component_of_ejabberd_lends_to_a_user_of_prosody(lab: Lab) -> None:
    world = await build(lab, component=True, servers=(start_ejabberd, start_prosody))
    async with borrowed(world) as channel:
        await talk(world, channel)
    await meet_over_turn(world)
    # Somebody with an account of the same server finds it there (XEP-0030), without the overlay.
    login = [*world.account]
    login[login.index("--jid") + 1] = "node@one.example"
    login[login.index("--xmpp-host") + 1] = f"{world.server.host.address}:5222"
    async with holding(lab, world.alice, *login) as channel:
        assert channel["relay"] == COMPONENT
        await talk(world, channel)


async def test_an_account_of_ejabberd_lends_to_a_user_of_prosody(lab: Lab) -> None:
    world = await build(lab, component=False, servers=(start_ejabberd, start_prosody))
    async with borrowed(world) as channel:
        await talk(world, channel)


async def test_a_relay_of_prosody_lends_to_a_user_of_ejabberd(lab: Lab) -> None:
    world = await build(lab, component=True, servers=(start_prosody, start_ejabberd))
    async with borrowed(world) as channel:
        await talk(world, channel)
    await meet_over_turn(world)
