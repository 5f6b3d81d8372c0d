"""Read a user's own summaries before anything heavy is imported (see `rnnlab.data.early`): as pairs, which they are."""

from rnnlab.data.text.translation_source import NAMED, find, read

__all__ = ["NAMED", "find", "read"]
