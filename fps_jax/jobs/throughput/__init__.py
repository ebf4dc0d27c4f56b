"""The job that times rounds: by model, method and cohort, and by phase."""
