"""Writes a title's kinds and inputs as typed code for its clients: `overworld codegen`."""
