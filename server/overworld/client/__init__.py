"""The reference client: sans-I/O mirror, asyncio connection and bots."""
