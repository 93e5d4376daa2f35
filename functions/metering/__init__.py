"""consumes: UsageRecorded, and the job settle-usage.
emits:    nothing; the ledger is the last stop.
promises: every page counts once, and every attempt that fell silent is settled by a visible estimate."""
