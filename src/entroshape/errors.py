"""Errors that name the reward function that caused them, so that no caller needs to name it again."""


class RewardError(RuntimeError):
    """A reward function raised an error; the message names the function."""


class RewardValueError(RewardError, ValueError):
    """A reward function did not return one finite number per completion; the message names the function."""
