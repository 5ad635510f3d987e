"""The same workload on Overworld and on what a user might pick instead: see `loadtest/peers/README.md`."""
