"""Holds a site against Pangea's own OpenAPI document with schemathesis: contract.py BASE TOKEN CONFIG_ID FOLDER.

Nobody can meet the document to the letter, so the tests use a copy that is changed here, each change for a reason.
"""

import copy
import json
import subprocess
import sys
from pathlib import Path

base, token, config_id, folder = sys.argv[1:]
project = Path(__file__).parents[5]
document = json.loads((project.parent / "shared/vectors/pangea/audit.openapi.json").read_text())
schemas, paths = document["components"]["schemas"], document["paths"]
frame = schemas["pangea-response"]

# `status` is an enum of "Success" alone, also in the answers 400 and 202, where the SDKs need other words.
del frame["properties"]["status"]["enum"]
# Every SDK needs both; the document does not require them.
frame["required"] += ["summary", "result"]
# All three SDKs read the root under `data`.
answer = paths["/v1/root"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]["allOf"][1]
answer["properties"]["result"] = {"type": "object", "required": ["data"], "properties": {"data": {"$ref": "#/components/schemas/AuditRoot"}}}
# Administration of Pangea's cloud is not served here.
for path in [path for path in paths if "beta" in path]:
    del paths[path]
# Answers that the document leaves out.
plain = {"description": "Refused", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/pangea-response"}}}}
for item in paths.values():
    for operation in item.values():
        for status in ("401", "403", "404", "405", "408", "413", "429", "503"):
            operation["responses"].setdefault(status, plain)
paths["/request/{requestId}"]["get"]["responses"]["400"] = plain
# The SDKs and the document's own words say that an export is answered with 202.
paths["/v1/export"]["post"]["responses"]["202"] = copy.deepcopy(paths["/v2/log_async"]["post"]["responses"]["202"])
# Raw clients send nested values; they are stored as text.
for name in ("message", "new", "old"):
    schemas["AuditEvent"]["properties"][name]["type"] = ["string", "object", "array"]
# A signature of chance is always wrong, and so is the id of a log: what is behind them would never be tried.
for name in ("AuditLogRequest", "AuditLogRequestV2"):
    for member in ("signature", "public_key"):
        del schemas[name]["properties"][member]


def name_the_log(part):
    if isinstance(part, dict):
        if "config_id" in part.get("properties", {}):
            part["properties"]["config_id"] = {"type": "string", "enum": [config_id]}
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            name_the_log(one)


name_the_log(document)
changed = Path(folder) / "audit.openapi.json"
changed.write_text(json.dumps(document))
checks = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "ignored_auth",
]
# Not `positive_data_acceptance`: any text fits the document's schema of a query, a root or an id.
command = [str(Path(sys.executable).parent / "schemathesis"), "run", str(changed), "--url", base]
command += ["--header", f"Authorization: Bearer {token}", "--phases", "examples,coverage,fuzzing", "--checks", ",".join(checks)]
command += ["--max-examples", "50", "--workers", "1", "--seed", "1", "--continue-on-failure", "--no-color"]
# It keeps what it found in a folder where it runs.
sys.exit(subprocess.run(command, cwd=folder).returncode)
