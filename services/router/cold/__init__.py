"""What a router does while no engine of a model can be reached."""
