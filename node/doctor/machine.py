"""Checks of the machine: ports, limits, state, and whether the kernel forwards."""

import errno
import os
import resource

import trio

from node.doctor.findings import Check, Finding, failed, failure, ok, skipped, warning
from node.doctor.patient import Patient, SkippedError
from node.relay.forwarders.use import IN_USERSPACE, KernelUse, Wanted, look
from node.relay.ports import check_port_range
from node.relay.resources import channels_within, descriptors_for
from node.settings.run import KEY_FILE
from overlay.state import load_identity


async def check_ports(patient: Patient) -> Finding:
    """Whether the node's UDP ports can be had."""
    settings = patient.settings
    names = f"UDP port {settings.port} and relay ports {settings.relay_ports}"
    if patient.runs:
        return ok(f"{names} are in use by the node that runs here")
    if patient.port_error is not None:
        if await _node_has_the_port(patient):
            return failed(
                f"a node that runs here has UDP port {settings.port}, and its state is elsewhere "
                f"than in {settings.state_directory_name()}",
                "if it is the one to examine, name its state directory: pass the --state-dir that "
                "it was started with; if not, choose another --port",
            )
        return failure(patient.port_error)
    first, last = settings.relay_port_range()
    await trio.to_thread.run_sync(check_port_range, first, last)
    if first <= settings.port <= last:
        return warning(
            f"UDP port {settings.port} is within the relay ports {settings.relay_ports}",
            "choose another --port or --relay-ports",
        )
    return ok(f"{names} are free")


async def _node_has_the_port(patient: Patient) -> bool:
    """Whether a node answers there: maybe the one to examine, that was told another directory."""
    try:
        peer = await patient.peer.get_or_skip("the overlay is not reached")
    except SkippedError:
        return False  # then nobody can be asked
    local = ("127.0.0.1", patient.settings.port)
    return local in await peer.measure([local])


async def check_files(patient: Patient) -> Finding:
    """Whether as many files may be open as there may be channels; a node raises its soft limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return judge_files(most, patient.settings.channels)


def judge_files(most: int, channels: int) -> Finding:
    """What a hard limit of open files means for so many channels."""
    needed = descriptors_for(channels)
    if most == resource.RLIM_INFINITY or most >= needed:
        return ok(f"{channels} channels need a limit of {needed} open files, and have it")
    remedy = f"raise the limit to {needed} (ulimit -Hn, or LimitNOFILE= of systemd)"
    room = channels_within(most)
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
    """Whether the kernel can carry calls for whoever asks; a service may have other rights."""
    wanted = patient.settings.forwarder
    use = IN_USERSPACE if wanted == "userspace" else await trio.to_thread.run_sync(look)
    return judge_kernel(wanted, use)


def judge_kernel(wanted: Wanted, use: KernelUse) -> Finding:
    """What it means that the kernel can be used, or not."""
    if wanted == "userspace":
        return skipped("all calls are forwarded in userspace, as --forwarder says")
    if use.possible:
        rest = f"; for those over the other IP version it takes {use.lacks}" if use.lacks else ""
        return ok(f"the kernel forwards calls once they are steady{rest}")
    if wanted == "kernel":
        return failed(
            f"the kernel cannot forward calls here; it takes {use.lacks}",
            "grant that, or pass --forwarder auto",
        )
    return skipped(f"calls are forwarded in userspace; for the kernel it takes {use.lacks}")


MACHINE_CHECKS = (
    Check("ports", check_ports),
    Check("file limits", check_files),
    Check("state", check_state),
    Check("kernel forwarding", check_kernel_forwarding),
)
