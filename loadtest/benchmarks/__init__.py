"""Microbenchmarks of the functions that every tick goes through: `make bench`."""
