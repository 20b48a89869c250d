"""A relay node, and a client that borrows relays, over XMPP (XEP-0278)."""
