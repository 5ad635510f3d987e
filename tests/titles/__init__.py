"""The games we ship."""
