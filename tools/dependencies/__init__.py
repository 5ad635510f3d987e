"""What the lock files may hold: `pins` and `nodes` read them, `licences` what is installed, `online` asks others."""
