"""JIDs as limits and lists compare them (RFC 7622)."""


def bare_jid(jid: str) -> str:
    """The JID without its resource, in the form in which JIDs are compared."""
    return jid.partition("/")[0].casefold()


def full_jid(jid: str) -> str:
    """The JID in the form in which JIDs are compared; a resource's case matters (RFC 7622)."""
    bare, slash, resource = jid.partition("/")
    return bare.casefold() + slash + resource


def domain_of(bare: str) -> str:
    """The domain of a bare JID."""
    return bare.rpartition("@")[2]
