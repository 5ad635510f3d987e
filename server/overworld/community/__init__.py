"""Identity and everything players do with each other outside a world."""
