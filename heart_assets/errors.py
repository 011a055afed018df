"""The one base class of errors that a user can act on. A leaf.

A `StudyError` is a sentence about the user's data or settings. It never holds a participant's id, because it reaches
logs and Dagster's database. Everything else that is raised is a programming error and keeps its traceback.
"""


class StudyError(ValueError):
    """Something about the study's data or settings that its owner can put right; the message is one clear sentence."""
