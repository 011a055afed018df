"""heart_assets: from raw cardiac MR DICOMs to an unbiased heart age, as Dagster assets.

Importing the package imports nothing heavy; the rooms are imported by whoever uses them.
"""
