"""The job that times how rounds are planned on the host."""
