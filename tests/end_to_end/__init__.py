"""Whole clusters of real processes, small and short: what `make prove-NAME` shows at full size."""
