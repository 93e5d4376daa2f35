"""The contract of Penstock: what is said between its parts, and the words it is said in."""
