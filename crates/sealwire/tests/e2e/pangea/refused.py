"""Pangea's SDK meets a log port that has no room. It sends ten megabytes before it reads, and raises what it does for a 503 of Pangea's own."""

import sys

from pangea import PangeaConfig
from pangea.exceptions import ServiceTemporarilyUnavailable
from pangea.services import Audit

url, token, _config_id = sys.argv[1:]
audit = Audit(token, config=PangeaConfig(base_url_template=url, request_retries=0))
try:
    audit.log_bulk([{"message": "x" * 10_000} for _ in range(1_000)])
except ServiceTemporarilyUnavailable as refusal:
    assert refusal.body["status"] == "ServiceNotAvailable", refusal.body
else:
    sys.exit("there was room")
