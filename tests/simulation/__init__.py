"""The whole system on a virtual clock, driven by one seed (after FoundationDB's simulation and TigerBeetle's VOPR)."""
