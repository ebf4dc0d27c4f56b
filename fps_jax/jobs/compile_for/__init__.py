"""Compiling a run for devices that need not be there: what it will take.

`target` names the devices, `programs` compiles what a run calls for them,
`hlo` reads what comes out, `kernels` counts what runs and `traffic` the bytes
that it moves, `estimate` makes seconds of that, and `job` reports it all.
"""
