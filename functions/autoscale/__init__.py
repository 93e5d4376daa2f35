"""consumes: PressureReported, FleetReported, and the job advise.
emits:    FleetAdvised.
promises: advice within the fleet's bounds at all times, whatever is reported; nothing is scaled by it."""
