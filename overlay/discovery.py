"""Relays in the overlay: what a relay node and a client call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Never

import trio

from overlay.core.addresses import Address
from overlay.core.choice.coordinates import Coordinate
from overlay.core.choice.selection import (
    NEARLY_FULL,
    FailedRelays,
    detour,
    is_last_choice,
    near_and_any,
)
from overlay.core.choice.tables import relay_name
from overlay.core.directory.hunt import ENOUGH
from overlay.core.directory.records import Advert, Offer, Policy
from overlay.core.directory.registration import SETTLED
from overlay.core.errors import LocalProtocolError
from overlay.core.identity import derive_id
from overlay.core.reachability.verdict import Verdict
from overlay.dht import RunningPeer
from overlay.errors import OverlayError
from overlay.probing import Answer

# An advert lives an hour: at three refreshes an hour two may be lost before a relay disappears.
REFRESH: Final = 1200.0  # seconds
_FIRST_REFRESH: Final = 1.0
_POLL: Final = 1.0
_WITHDRAW_TIMEOUT: Final = 2.0  # a second in a network around the world

SAMPLE: Final = 64  # adverts to choose from
SOONEST_REFRESH: Final = 60.0  # seconds between two adverts that tell of full and free

RelayDescription = Offer


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay that was found, and has just answered.

    Attributes:
        jid: Whom to ask for a channel.
        peer_id: Its 20-byte id in the overlay.
        endpoints: Where it answers STUN and the overlay.
        rtt: Measured round-trip time, seconds.
        free: Share of its channels that is free, 0 to 1, as it has just said.
        maxkbps: Limit of a channel, kilobits per second; None for none.
        policy: "public" or "roster".
        public_key: Its Ed25519 key.
        services: What it offers: "channel", …
    """

    jid: str
    peer_id: bytes
    endpoints: tuple[Address, ...]
    rtt: float
    free: float
    maxkbps: int | None
    policy: Policy
    public_key: bytes
    services: tuple[str, ...]


async def advertise(
    peer: RunningPeer,
    describe: Callable[[], RelayDescription],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> Never:
    """Keep a relay in the directory until cancelled; then take it out.

    For that the peer must still run: cancel this first. If both are cancelled at once the
    advert stays until it expires, but nobody takes what answers there for the relay.

    The task counts as started once the advert is registered for the first time.

    Args:
        peer: The relay's peer.
        describe: Says what the relay offers at the moment.
        task_status: For `nursery.start`.

    Raises:
        OverlayError: What the relay offers does not fit into an advert.
    """
    await peer.wait_joined()
    soon = _FIRST_REFRESH
    verified = False
    offer = describe()
    try:
        while True:
            contacts = peer.contacts
            endpoints = peer.endpoints
            verdicts = _verdicts(peer)
            registered = await peer.register(offer)
            task_status.started()
            task_status = trio.TASK_STATUS_IGNORED
            # Whoever verifies an endpoint may find nobody there, if a router has just started or
            # we have just moved: what was never listed is told again, what once was goes on.
            verified |= registered.stored - registered.pending >= SETTLED
            settled = verified and registered.stored >= SETTLED
            now = trio.current_time()
            soonest = now + SOONEST_REFRESH
            due = now + (REFRESH if settled else soon) * peer.rng.uniform(0.9, 1.1)
            soon = min(REFRESH, 2 * soon)
            # A network that is still small, or an address that has changed, does not wait; nor
            # does one that strangers reach again, or no longer.
            while trio.current_time() < due:
                await trio.sleep(_POLL)
                if peer.endpoints != endpoints or _verdicts(peer) != verdicts:
                    soon = _FIRST_REFRESH
                    verified = False
                    break
                free = describe().free
                peer.set_free_share(free)
                filled = (free < NEARLY_FULL) != (offer.free < NEARLY_FULL)
                if filled and trio.current_time() >= soonest:
                    break
                if not settled and peer.contacts > contacts:
                    break
            offer = describe()
    except LocalProtocolError as error:
        raise OverlayError(f"{error}; check the relay's JID and limits") from error
    finally:
        peer.set_free_share(None)
        with trio.move_on_after(_WITHDRAW_TIMEOUT, shield=True):
            await peer.withdraw()


def _verdicts(peer: RunningPeer) -> list[Verdict]:
    return [one.verdict for one in peer.reachability.values()]


async def find_relays(
    peer: RunningPeer,
    *,
    count: int = 8,
    timeout: float = 5.0,
    callee: Coordinate | None = None,
    failed: FailedRelays | None = None,
) -> list[Relay]:
    """Find relays, measure the most promising all at once, and return those that answer.

    Args:
        peer: Any peer, a client for instance; it need not have joined yet.
        count: Relays to return at most.
        timeout: Seconds for everything.
        callee: Where the other end of the call is, if it has told.
        failed: Relays that failed lately; they come last.

    Returns:
        The best first: by round-trip time to us and on to the callee, those without free
        channels last.

    Raises:
        OverlayError: Nobody in the overlay answered.
    """
    failed = FailedRelays() if failed is None else failed
    deadline = trio.current_time() + timeout
    connected = False
    with trio.move_on_at(deadline):
        await peer.wait_connected()
        connected = True
    if not connected:
        raise OverlayError(
            f"{peer.trouble or 'no peer of the overlay answered'} within {timeout:g} s; "
            "check the bootstrap addresses and that UDP is not blocked"
        )
    candidates: list[Advert] = []
    answers: dict[Address, Answer] = {}
    # If few answer, many may be gone, or never have been there: once more, and with more patience.
    for hurried in (True, False):
        # A third of the time that is left is for measuring.
        left = deadline - trio.current_time()
        found = await peer.collect_adverts(max(SAMPLE, count), left * 2 / 3, hurried=hurried)
        seen = {peer.public_key, *(advert.public_key for advert in candidates)}
        adverts = [advert for advert in found.adverts if advert.public_key not in seen]
        now = trio.current_time()
        # Twice as many as are wanted: some are dead or full.
        probed = near_and_any(adverts, count, peer.coordinate, callee, failed, now)
        candidates += probed
        endpoints = [endpoint for advert in probed for endpoint in advert.endpoints]
        with trio.move_on_at(deadline):
            answers |= await peer.measure(endpoints, count)
        good = sum(answered_relay(advert, answers) is not None for advert in candidates)
        if good >= count or len(found.adverts) < ENOUGH:
            break
    now = trio.current_time()
    paths: list[tuple[bool, float, Relay]] = []
    for advert in candidates:
        if (relay := answered_relay(advert, answers)) is not None:
            last = is_last_choice(relay.public_key, relay.free, failed, now)
            path = detour(advert.coordinate, None, callee, near=relay.rtt)
            paths.append((last, path, relay))
    paths.sort(key=lambda item: item[:2])
    relays: dict[bytes, Relay] = {}
    for _, _, relay in paths:
        # Whoever serves both address families has an advert in each.
        known = relays.setdefault(relay.public_key, relay)
        both = dict.fromkeys((*known.endpoints, *relay.endpoints))
        relays[relay.public_key] = replace(known, endpoints=tuple(both))
    return list(relays.values())[:count]


def answered_relay(advert: Advert, answers: Mapping[Address, Answer]) -> Relay | None:
    """Return the relay of an advert, unless it did not answer at any of its endpoints.

    Somebody else who answers there does not count: the relay may be gone, and its port taken.
    """
    name = relay_name(advert.public_key)
    said = [
        (answer.rtt, answer.relay.free)
        for endpoint in advert.endpoints
        if (answer := answers.get(endpoint)) and answer.relay and answer.relay.name == name
    ]
    if not said:
        return None
    rtt, free = min(said)
    offer = advert.offer
    return Relay(
        jid=offer.jid,
        peer_id=derive_id(advert.public_key, advert.endpoints[0][0]),
        endpoints=advert.endpoints,
        rtt=rtt,
        free=free,
        maxkbps=offer.maxkbps,
        policy=offer.policy,
        public_key=advert.public_key,
        services=offer.services,
    )
