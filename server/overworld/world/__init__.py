"""Tables of columns, grid, motion and random streams. Pure."""
