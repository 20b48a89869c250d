"""Where a node stands: NAT behaviour, and ports opened on the home router."""
