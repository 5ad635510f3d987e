"""The games we ship, written only against overworld.game."""
