"""Generated from proto/overworld/wire/v1 by proto/generate.py; not written by hand."""
