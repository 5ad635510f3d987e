"""What Overworld asks of Redis and blob storage (`ports`), the real ones and their in-memory twins."""
