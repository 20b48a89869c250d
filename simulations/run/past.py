"""What the nodes in the open have lived through when a scenario begins.

They joined long ago, so they know how far others are, and hold the adverts of the first relays.
To simulate all that would cost more than the hour that follows; instead it is worked out. Each
shard does so for its own nodes, from what all of them know.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from overlay.core.addresses import Address
from overlay.core.choice.coordinates import Coordinate, Vivaldi
from overlay.core.directory.advertising import RENEWALS
from overlay.core.directory.records import parse_advert_untrusted
from overlay.core.directory.store import MAX_PER_NETWORK_AND_KEY
from overlay.core.directory.tree import (
    SAMPLE_SIZE,
    SPREAD,
    deepest_level,
    directory_key,
    epoch_of,
    sample_rank,
)
from overlay.core.directory.verification import VERIFIED_FOR
from overlay.core.ids import ID_LENGTH
from overlay.core.kademlia.contact import Contact, K, contact_at
from simulations.peers import UNIX_TIME, SimulatedPeer
from simulations.population import Population
from simulations.post import Post
from simulations.relays import Relay

_ROUNDS: Final = 64  # round trips from each site that tell where it is
_REPLIES: Final = 48  # of its contacts, that tell a node where it is itself
_SENDING: Final = 10.0  # seconds over which adverts are sent, at the most
_STORED, _REGISTERED = "stored", "registered"

# Tells the round trip between two sites, seconds.
Rtt = Callable[[int, int], float]


def recall_replies(peers: Sequence[SimulatedPeer], rtt: Rtt, rng: random.Random) -> None:
    """Have nodes know where they are, and how far their contacts.

    Args:
        peers: They have their contacts already.
        rtt: Between their sites.
        rng: All that is random about the places of sites.
    """
    site_at = {peer.address: peer.host.site for peer in peers}
    places = _places(sorted(set(site_at.values())), rtt, rng)
    for peer in peers:
        if not peer.is_here:
            continue
        past, contacts = peer.core.past, peer.core.contacts()
        for contact in peer.rng.sample(contacts, min(_REPLIES, len(contacts))):
            site = site_at[contact.address]
            past.measured(contact, places[site], rtt(peer.host.site, site), peer.address)


def _places(sites: Sequence[int], rtt: Rtt, rng: random.Random) -> Mapping[int, Coordinate]:
    """Return where sites are, as nodes there would find out."""
    vivaldis = {site: Vivaldi(rng) for site in sites}
    nodes = {site: Contact(site.to_bytes(ID_LENGTH, "big"), ("192.0.2.1", site)) for site in sites}
    for _ in range(_ROUNDS):
        for site, vivaldi in vivaldis.items():
            other = rng.choice(sites)
            vivaldi.observe(nodes[other], vivaldis[other].coordinate, rtt(site, other))
    return {site: vivaldi.coordinate for site, vivaldi in vivaldis.items()}


def sampled_levels(relays: Mapping[Address, bytes], network_size: int) -> dict[Address, list[int]]:
    """Return on which levels of the directory relays are listed, deepest first.

    Args:
        relays: The ids of all there are, by their endpoint.
        network_size: Number of peers.
    """
    epoch = epoch_of(UNIX_TIME)
    levels: dict[Address, list[int]] = {address: [] for address in relays}
    climbing: Iterable[Address] = relays
    for level in range(deepest_level(SPREAD * network_size), -1, -1):
        by_key: dict[bytes, list[tuple[bytes, Address]]] = defaultdict(list)
        for address in climbing:
            rank = sample_rank(address, epoch)
            by_key[directory_key(level, relays[address])].append((rank, address))
        climbing = [address for ranked in by_key.values() for address in _sample(ranked)]
        for address in climbing:
            levels[address].append(level)
    return levels


def _sample(ranked: list[tuple[bytes, Address]]) -> list[Address]:
    """Return which adverts a key holds; see `KeySample`."""
    ranked.sort()
    seen: dict[bytes, int] = defaultdict(int)  # by rank, which is that of the network
    kept = []
    for rank, address in ranked:
        seen[rank] += 1
        if seen[rank] <= MAX_PER_NETWORK_AND_KEY:
            kept.append(address)
    return kept[:SAMPLE_SIZE]


class FirstAdverts:
    """Brings the adverts of the first relays to those who hold them.

    Args:
        population: All peers.
        post: Carries the adverts, and the write tokens that come back.
    """

    def __init__(self, population: Population, post: Post) -> None:
        self._population = population
        self._post = post
        self._renewals: dict[Address, int] = {}
        post.open(_STORED, self._stored)
        post.open(_REGISTERED, self._registered)

    def register(
        self, relays: Mapping[Address, SimulatedPeer], lent: Iterable[Relay], within: float
    ) -> None:
        """Have relays registered long ago, each at another time.

        Args:
            relays: All of them.
            lent: Those of this shard.
            within: Seconds over which their adverts are sent: all at once would take much memory.
        """
        population = self._population
        ids = {address: peer.peer_id for address, peer in relays.items()}
        levels = sampled_levels(ids, len(population.peers))
        held = K * sum(map(len, levels.values())) // len(population.peers)
        for peer in population.peers:
            if peer.is_here:
                peer.core.past.told_of_adverts(held)
        for relay in lent:
            peer = relay.peer
            delay = peer.rng.uniform(0.0, min(_SENDING, within / 2))
            population.network.heap.after(delay, self._send, relay, levels[peer.address])

    def _send(self, relay: Relay, levels: Sequence[int]) -> None:
        peer, population = relay.peer, self._population
        advert = relay.resume()
        self._renewals[peer.address] = peer.rng.randrange(RENEWALS + 1)
        verified_for = peer.rng.uniform(0.0, VERIFIED_FOR)  # yet: by all at once, when it came
        about = peer.host.site, peer.peer_id, peer.address, advert.encoded, verified_for
        for level in levels:
            for holder in population.closest(directory_key(level, peer.peer_id)):
                if not population.is_open(holder):
                    continue  # behind a NAT, and reached by now
                site = population.peer_at(holder).host.site
                self._post.send(peer.host, site, _STORED, holder, level, *about)

    def _stored(
        self,
        holder: Address,
        level: int,
        site: int,
        relay_id: bytes,
        relay: Address,
        encoded: bytes,
        verified_for: float,
    ) -> None:
        if not self._population.is_open(holder):
            return
        peer = self._population.peer_at(holder)
        now = self._population.network.heap.now
        advert = parse_advert_untrusted(encoded)
        contact = contact_at(relay_id, relay)
        token = peer.core.past.stored(
            advert, level, contact, now + verified_for, now, now + UNIX_TIME
        )
        if token is not None:
            about = level, peer.peer_id, holder, token
            self._post.send(peer.host, site, _REGISTERED, relay, encoded, *about)

    def _registered(
        self,
        relay: Address,
        encoded: bytes,
        level: int,
        holder_id: bytes,
        holder: Address,
        token: bytes,
    ) -> None:
        if self._population.is_open(relay):
            advert, contact = parse_advert_untrusted(encoded), contact_at(holder_id, holder)
            past = self._population.peer_at(relay).core.past
            past.registered(advert, level, contact, token, self._renewals[relay])
