"""The overlay's protocol logic, pure: `now`, randomness and bytes in, datagrams and events out.

No module here opens a socket, reads a clock or keeps global state.
"""
