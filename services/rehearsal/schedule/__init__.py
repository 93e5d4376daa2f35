"""Who decodes when: schedules that move sequences on a clock they are told, and never wait themselves."""
