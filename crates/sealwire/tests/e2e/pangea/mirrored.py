"""Searches what a mirror delivered with the official Python SDK, unmodified, which verifies each event: mirrored.py BASE TOKEN COUNT.

Prints how many events it verified, which are at least COUNT.
"""

import sys

import pangea.services.audit.util as util
from pangea.config import PangeaConfig
from pangea.services import Audit
from pangea.services.audit.models import SearchOrder

base, token, count = sys.argv[1:]
util.ARWEAVE_BASE_URL = base  # it has no published roots, so the SDK asks the server for them
audit = Audit(token, config=PangeaConfig(base_url_template=base))
found = audit.search(query="", limit=1, order=SearchOrder.ASC).result
verified = 0
while verified < found.count:
    events = audit.results(found.id, limit=100, offset=verified, verify_consistency=True).result.events
    for event in events:
        shown = [str(event.membership_verification), str(event.consistency_verification)]
        assert shown == ["pass", "pass"], (shown, event)
    verified += len(events)
assert verified >= int(count), verified
print(verified)
