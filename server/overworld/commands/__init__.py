"""The pieces of the command line: how processes are set up, run and told about. `overworld.__main__` wires them."""
