"""The load tests' own checkers must find what is wrong."""
