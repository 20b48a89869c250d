"""UDP ports opened on the home router: by PCP (RFC 6887), NAT-PMP (RFC 6886) or UPnP-IGD."""

from node.nat.mapping.keeper import PortMapping, open_port_mapping
from node.nat.mapping.status import MappingStatus

__all__ = ["MappingStatus", "PortMapping", "open_port_mapping"]
