"""What keeps running and touches the world."""
