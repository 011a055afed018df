"""The study's assets: thin functions that fetch inputs, call one of the rooms, and say what was made.

One module per stage. Each ends with `declare(settings)`, which lists the assets of that stage with their partitions and
inputs; the functions above it are plain and can be called directly. No mathematics belongs here.
"""
