"""The pure state of a shard: tables, grid, chance, angles, spatial queries."""
