"""consumes: the job take-backup.
emits:    BackupCompleted, BackupFailed.
promises: a backup that is told of is whole, and the newest one that was verified is never thinned out."""
