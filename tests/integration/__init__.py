"""Real processes, real sockets, real clients: each test starts what it needs and ends it."""
