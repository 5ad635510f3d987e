"""Real clusters of processes under load and under faults, and the claims that are measured on them."""
