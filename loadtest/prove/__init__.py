"""`make prove-NAME`: each claim about this server, measured afresh on this machine."""
