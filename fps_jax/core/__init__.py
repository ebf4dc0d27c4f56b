"""What all other folders build on, and what knows none of them.

`types` has the letters of axes and the state of a round: read it first. The
rest is randomness, devices and processes, files, and checks of arguments.
"""
