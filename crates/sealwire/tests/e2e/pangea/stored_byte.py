"""The official Python SDK, unmodified, meets a log of which one stored byte is another: stored_byte.py BASE TOKEN CONFIG_ID LEDGER.

LEDGER is the folder of the running site's log. Any check that fails raises.
"""

import contextlib
import os
import pathlib
import sys

import pangea.exceptions as errors
import pangea.services.audit.util as util
from between import Between
from pangea.config import PangeaConfig
from pangea.services import Audit

base, token, config_id, ledger = sys.argv[1:]
ledger = pathlib.Path(ledger)
util.ARWEAVE_BASE_URL = Between(base.removeprefix("http://")).base  # the stand-in; everything else of the SDK is as it was published
audit = Audit(token, config=PangeaConfig(base_url_template=base, request_retries=0), config_id=config_id)
COUNT = 500


@contextlib.contextmanager
def changed(path, position):
    """The byte there is another; afterwards it is as it was."""

    def flip():
        with open(path, "r+b") as file:
            file.seek(position)
            byte = file.read(1)[0]
            file.seek(position)
            file.write(bytes([byte ^ 1]))

    flip()
    yield
    flip()


def found():
    """How the SDK verifies all events: membership, with how many."""
    result = audit.search(query="message:sealed", limit=COUNT, verify_consistency=True).result
    verifications = [str(event.membership_verification) for event in result.events]
    assert len(verifications) == COUNT, len(verifications)
    return {word: verifications.count(word) for word in set(verifications)}


def is_refused():
    try:
        found()
    except errors.InternalServerError:
        return True
    return False


audit.log_bulk([{"message": f"sealed {i}"} for i in range(COUNT)])
assert found() == {"pass": COUNT}, found()

# A node of Pangea's tree: the proofs that it is in are of another tree than the root.
pair = 64 * 10  # of the leaves 160 to 175
with changed(ledger / "tree" / "nodes-4", pair + 32):
    verified = found()
    assert verified["fail"] > 100, verified

# An envelope, or what the log says of it: the site sees that they do not go together, and shows none.
segments = sorted((ledger / "segments").iterdir())
for path, position in ((segments[-1], os.path.getsize(segments[-1]) // 2), (ledger / "tree" / "entries", 32 * 200)):
    with changed(path, position):
        assert is_refused(), path
assert found() == {"pass": COUNT}, found()
