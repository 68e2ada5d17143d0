"""What a node says that a call raised is an exception, whatever it says."""

from __future__ import annotations

import pytest

from crowdgrid import limits
from crowdgrid.client.codec import Pickled, Plain
from crowdgrid.core.reducing.answers import Answer
from crowdgrid.errors import RemoteError
from crowdgrid.protocol.failures import Failure, pack_failure


@pytest.mark.parametrize("data", [b"", b"junk", b"\x93\xa0", b"\x91" * 5000])
def test_what_says_nothing_leaves_the_sentence(data: bytes) -> None:
    for codec in (Plain(), Pickled()):
        found = codec.exception(Answer(False, data, "It was ended."), "It was call 3.")
        assert (type(found), str(found), found.__notes__) == (RemoteError, "It was ended.", ["It was call 3."])


def test_a_stranger_may_not_say_too_much() -> None:
    """In a few hundred megabytes there would be millions of exceptions in one another."""
    parts = (Failure("", "", ""),) * (limits.FAILURE_WHOLE_BYTES // 4)
    data = pack_failure(Failure("ExceptionGroup", "builtins", "m", parts=parts))
    found = Plain().exception(Answer(False, data, "ExceptionGroup: m"), "It was call 3.")
    assert (type(found), str(found)) == (RemoteError, "ExceptionGroup: m")
