"""Load for any NATS server, and what it costs the server: drivers in Cython, everything around them in Python."""
