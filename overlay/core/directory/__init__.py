"""The directory of relays: adverts, the tree of keys that they stand under, and its readers."""
