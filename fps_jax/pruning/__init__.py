"""Which parameters are kept, and how many: masks and schedules."""
