"""What tests and drills do to answers: hold them, and make them go wrong."""
