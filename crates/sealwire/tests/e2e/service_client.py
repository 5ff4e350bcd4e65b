"""Asks a NATS service: SUBJECT PAYLOAD [TOKEN]. NATS_URL, NATS_CA, NATS_CERT and NATS_KEY say where
and as whom. Prints the headers and the payload of the answer as JSON.
"""

import asyncio
import json
import os
import ssl
import sys

import nats


async def ask(subject, payload, token=None):
    tls = ssl.create_default_context(cafile=os.environ["NATS_CA"])
    if "NATS_CERT" in os.environ:
        tls.load_cert_chain(os.environ["NATS_CERT"], os.environ["NATS_KEY"])
    client = await nats.connect(
        os.environ["NATS_URL"], tls=tls, allow_reconnect=False, connect_timeout=20
    )
    headers = {"Authorization": f"Bearer {token}"} if token else None
    answer = await client.request(subject, payload.encode(), timeout=60, headers=headers)
    print(json.dumps({"headers": answer.headers or {}, "payload": answer.data.decode()}))
    await client.close()


asyncio.run(ask(*sys.argv[1:]))
