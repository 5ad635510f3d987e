"""The real parts the tests start: servers of their own, on free loopback ports, ended with certainty."""
