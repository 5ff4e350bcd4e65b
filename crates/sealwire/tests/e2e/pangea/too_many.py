"""The official Python SDK, unmodified, with a token that makes more requests than it may: too_many.py BASE TOKEN CONFIG_ID.

Someone else uses the token up meanwhile. Succeeds as soon as the SDK raises what it has for that.
"""

import sys
import time

import pangea.exceptions as errors
from pangea.config import PangeaConfig
from pangea.services import Audit

base, token, config_id = sys.argv[1:]
audit = Audit(token, config=PangeaConfig(base_url_template=base), config_id=config_id)
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    try:
        audit.root()
    except errors.RateLimitException as raised:
        assert raised.response.status == "TooManyRequests" and raised.response.http_status == 429, raised
        sys.exit()
raise AssertionError("the token was never used up")
