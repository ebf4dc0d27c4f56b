"""What an update reveals: gradient inversion of what each party sees.

`views` says what is seen of clients' updates, `search` reconstructs images
from it, `metrics` scores them, `cases` lists what the job `job` measures, and
`report` shows it. The axis `V` of array names, besides those of
`fps_jax.core.types`, is what a view consists of.
"""
