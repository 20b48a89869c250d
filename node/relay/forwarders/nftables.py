"""The kernel's packet filter, by way of libnftables: commands go in as text, listings come out.

The library comes with the command `nft` and keeps one netlink socket for as long as it is open, so
a table with the flag `owner` lives exactly as long: when this process ends, however it does, the
kernel removes the table by itself.
"""

import ctypes
import json
from typing import Any, Self

from node.relay.forwarders import rules

LIBRARY = "libnftables.so.1"

_AS_JSON = 1 << 4  # NFT_CTX_OUTPUT_JSON of nftables/libnftables.h


class NftablesError(Exception):
    """The kernel or the library refused something: one line."""


class Nftables:
    """The library, opened; not to be used by two threads at once.

    Raises:
        NftablesError: it is not there.
    """

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(LIBRARY)  # which lets other threads run meanwhile
        except OSError:
            raise NftablesError(f"{LIBRARY} is not here: install the package nftables") from None
        self._library = library
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).restype = ctypes.c_char_p
            getattr(library, name).argtypes = [ctypes.c_void_p]
        for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        self._context = library.nft_ctx_new(0)
        if self._context is None:
            raise NftablesError("the kernel has no netlink socket for nftables")
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the netlink socket; tables that it owns are gone with it."""
        self._library.nft_ctx_free(self._context)

    def run(self, commands: str) -> None:
        """Run commands as one transaction: all of them, or none.

        Raises:
            NftablesError: none.
        """
        self._run(commands, 0)

    def list(self, command: str, kind: str) -> list[dict[str, Any]]:
        """The objects of a kind that a command lists, as libnftables-json(5) describes them.

        Raises:
            NftablesError: it lists nothing.
        """
        output = self._run(command, _AS_JSON)
        try:
            listed = json.loads(output)["nftables"]
            return [entry[kind] for entry in listed if kind in entry]
        except (ValueError, KeyError, TypeError):
            raise NftablesError("nftables lists no JSON: its library was built without") from None

    def _run(self, commands: str, flags: int) -> bytes:
        library, context = self._library, self._context
        library.nft_ctx_output_set_flags(context, flags)
        failed = library.nft_run_cmd_from_buffer(context, commands.encode())
        output: bytes = library.nft_ctx_get_output_buffer(context)
        error: bytes = library.nft_ctx_get_error_buffer(context)
        if failed:
            first = error.decode(errors="replace").partition("\n")[0]
            raise NftablesError(
                first.removeprefix("Error: ") or "nftables refuses and says not why"
            )
        return output


def probe() -> None:
    """Try all that a forwarder needs of nftables, in a table that is gone at once.

    Raises:
        NftablesError: something does not work here.
    """
    table = rules.table_name()
    path = rules.Path(("192.0.2.1", 1), ("192.0.2.2", 2), ("192.0.2.3", 3), ("192.0.2.4", 4))
    with Nftables() as nftables:
        nftables.run(rules.make_table(table))
        nftables.run(rules.limit_all(table, kbps=64, size=1) + rules.start(table, 0, path, kbps=64))
        nftables.list(rules.list_counters(table), "counter")
        nftables.list(rules.list_quota(table), "quota")
        nftables.run(rules.stop(table, 0, path))
        nftables.run(rules.remove(table, 0))
