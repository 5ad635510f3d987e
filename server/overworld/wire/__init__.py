"""Protobuf messages, columnar codecs and framing. Pure."""
