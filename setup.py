"""Only the entry point that some tools still look for; everything is in pyproject.toml."""

from setuptools import setup

setup()
