"""Finding peers: contacts, the routing table, look-ups, joining and staying in a network."""
