"""The reference client: a pure picture of the world, a session without I/O, an asyncio connection, and bots."""
