"""What a peer tells its shell."""

from dataclasses import dataclass

from overlay.core.addresses import Address
from overlay.core.directory.records import Advert
from overlay.core.kademlia.contact import Contact
from overlay.core.kademlia.lookup import Ending
from overlay.core.reachability.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Connected:
    """A first peer has answered: there is somebody to ask."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The peer knows its neighbourhood: it may serve and advertise."""


@dataclass(frozen=True, slots=True)
class BootstrapFailed:
    """No bootstrap address answered. The peer tries again by itself.

    Attributes:
        retry_in: Seconds until then.
    """

    retry_in: float


@dataclass(frozen=True, slots=True)
class EndpointLearnt:
    """Others agree on another endpoint of ours than before.

    Attributes:
        endpoint: The one that they see.
    """

    endpoint: Address


@dataclass(frozen=True, slots=True)
class ReachabilityChanged:
    """Strangers reach us now, or do so no longer; the peer has changed its role by itself.

    Attributes:
        verdict: What is believed now.
    """

    verdict: Verdict


@dataclass(frozen=True, slots=True)
class VerifyEndpoint:
    """Send a Binding request from a fresh socket, then call `Peer.endpoint_verified`.

    Attributes:
        endpoint: Where to.
    """

    endpoint: Address


@dataclass(frozen=True, slots=True)
class LookupEnded:
    """A look-up asked for with `Peer.find_node` is over.

    Attributes:
        handle: The number that `find_node` returned.
        ending: Why it is over.
        contacts: The closest peers that answered, closest first.
        hops: Requests, one after the other, that it took to hear from the closest.
        requests: All that were sent, those that were sent again with them.
    """

    handle: int
    ending: Ending
    contacts: tuple[Contact, ...]
    hops: int
    requests: int


@dataclass(frozen=True, slots=True)
class RelaysFound:
    """A search asked for with `Peer.find_relays` is over.

    Attributes:
        handle: The number that `find_relays` returned.
        asked: Peers that answered; zero means that there is no network to ask.
        adverts: What was found: signed, not expired, one for each key; in random order, but those
            last that come from whoever has named very many.
    """

    handle: int
    asked: int
    adverts: tuple[Advert, ...]


@dataclass(frozen=True, slots=True)
class Advertised:
    """A registration asked for with `Peer.advertise` is over.

    Attributes:
        handle: The number that `advertise` returned.
        stored: Storing peers that took the advert at the deepest level; ourselves if alone.
        pending: Those of them that list it only once they have reached our endpoints. If they are
            as many as have stored it at a second time too, strangers do not reach us.
        levels: Levels of the directory that took it.
    """

    handle: int
    stored: int
    pending: int
    levels: int


Event = (
    Connected
    | Joined
    | BootstrapFailed
    | EndpointLearnt
    | ReachabilityChanged
    | VerifyEndpoint
    | LookupEnded
    | RelaysFound
    | Advertised
)
