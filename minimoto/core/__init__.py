"""The pure core: decisions without I/O, clock or logging. Imports nothing of ours but :mod:`minimoto.errors`."""
