"""The job that times sharing, beside a copy of memory and a public package."""
