"""What a bundle gives back of a reader of raw input."""

import json
from typing import TypeVar

from rnnlab.data.inputs import InputReader, as_json, from_json

Reader = TypeVar("Reader", bound=InputReader)


def through_json(reader: Reader) -> Reader:
    """Write a reader as JSON and read it again."""
    found = from_json(json.loads(json.dumps(as_json(reader), allow_nan=False)))
    assert isinstance(found, type(reader))
    return found
