"""The swarm: bots at high density that measure a cluster, and check that what they see is true."""
