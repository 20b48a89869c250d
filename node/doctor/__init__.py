"""What keeps a node from serving well: one small check for each thing that a relay needs."""

from node.doctor.diagnosis import diagnose
from node.doctor.findings import Finding, Result

__all__ = ["Finding", "Result", "diagnose"]
