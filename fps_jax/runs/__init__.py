"""One run: its rounds, what fails in them, what is kept of them.

`simulation` is a run that is ready to start, `train` its loop; `faults` is who
fails, `retries` what follows; `costs` counts bytes, time and operations.
"""
