"""Checks of the machine: ports, limits, state, and what a kernel forwarder would need."""

import errno
import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import trio

from node.doctor.findings import Check, Finding, failed, failure, ok, skipped, warning
from node.doctor.patient import Patient
from node.files import read_small_file
from node.relay.channel import PORTS
from node.relay.ports import check_port_range
from node.relay.resources import RESERVED
from node.settings.run import KEY_FILE
from overlay.state import load_identity

CAP_NET_ADMIN = 12  # linux/capability.h

IP_FORWARD = {
    "IPv4": Path("/proc/sys/net/ipv4/ip_forward"),
    "IPv6": Path("/proc/sys/net/ipv6/conf/all/forwarding"),
}
STATUS = Path("/proc/self/status")
MAX_PROC = 65536  # bytes


async def check_ports(patient: Patient) -> Finding:
    """Whether the node's UDP ports can be had."""
    settings = patient.settings
    names = f"UDP port {settings.port} and relay ports {settings.relay_ports}"
    if patient.runs:
        return ok(f"{names} are in use by the node that runs here")
    if patient.port_error is not None:
        finding = failure(patient.port_error)
        return replace(finding, remedy=f"{finding.remedy}{await _owner_of_the_port(patient)}")
    first, last = settings.relay_port_range()
    await trio.to_thread.run_sync(check_port_range, first, last)
    if first <= settings.port <= last:
        return warning(
            f"UDP port {settings.port} is within the relay ports {settings.relay_ports}",
            "choose another --port or --relay-ports",
        )
    return ok(f"{names} are free")


async def _owner_of_the_port(patient: Patient) -> str:
    """What to add if it may be the node itself, run by somebody else."""
    peer = await patient.peer.get_or_skip("the overlay is not reached")
    local = ("127.0.0.1", patient.settings.port)
    if local not in await peer.measure([local]):
        return ""
    return "; or if it is the node that has it, name its state directory (--state-dir)"


async def check_files(patient: Patient) -> Finding:
    """Whether as many files may be open as there may be channels; a node raises its soft limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return judge_files(most, patient.settings.channels)


def judge_files(most: int, channels: int) -> Finding:
    """What a hard limit of open files means for so many channels."""
    needed = RESERVED + PORTS * channels
    if most == resource.RLIM_INFINITY or most >= needed:
        return ok(f"{channels} channels need {needed} open files, and may have them")
    remedy = f"raise the limit to {needed} (ulimit -Hn, or LimitNOFILE= of systemd)"
    room = (most - RESERVED) // PORTS
    if room < 1:
        return failed(f"{most} files may be open, too few for a single channel", remedy)
    return warning(f"{most} files may be open, enough for {room} of {channels} channels", remedy)


async def check_state(patient: Patient) -> Finding:
    """Whether the node can keep its key and the peers that it knows."""
    directory = patient.settings.state_directory_name()
    if patient.runs:
        return ok(f"{directory} is in use by the node that runs here")
    if (directory / KEY_FILE).exists():
        await trio.to_thread.run_sync(load_identity, directory / KEY_FILE)
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if not existing.is_dir():
        return failed(f"{existing} is not a directory", "pass --state-dir DIR")
    if not os.access(existing, os.W_OK | os.X_OK):
        reason = os.strerror(errno.EACCES)
        return failed(f"cannot write to {existing}: {reason}", "pass --state-dir DIR")
    return ok(f"{directory} {'can be used' if existing == directory else 'can be made'}")


async def check_kernel_forwarding(patient: Patient) -> Finding:
    """What a forwarder in the kernel would lack here; this version has none."""
    lacking = await trio.to_thread.run_sync(_lacking_for_the_kernel)
    meaning = "this version forwards packets in userspace only"
    if lacking:
        return skipped(f"{meaning}; a forwarder in the kernel would need here {', '.join(lacking)}")
    return skipped(f"{meaning}, though a forwarder in the kernel would have here what it needs")


def _lacking_for_the_kernel() -> list[str]:
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    lacking = [] if _may_administer_networks() else ["root, or the capability CAP_NET_ADMIN"]
    if shutil.which("nft", path=path) is None:
        lacking.append("the command nft (package nftables)")
    for family, switch in IP_FORWARD.items():
        try:
            forwards = read_small_file(switch, MAX_PROC).strip() != b"0"
        except OSError:
            continue  # no such address family
        if not forwards:
            name = ".".join(switch.parts[3:])
            lacking.append(f"forwarding of {family} (sysctl {name}=1)")
    return lacking


def _may_administer_networks() -> bool:
    for line in read_small_file(STATUS, MAX_PROC).splitlines():
        name, _, value = line.partition(b":")
        if name == b"CapEff":
            return bool(int(value, 16) >> CAP_NET_ADMIN & 1)
    return False


MACHINE_CHECKS = (
    Check("ports", check_ports),
    Check("file limits", check_files),
    Check("state", check_state),
    Check("kernel forwarding", check_kernel_forwarding),
)
