"""A device of the sensor protocol with nats-py and its nkey: HOST PORT FOLDER NAME CA [SUBJECT...].

FOLDER has what `sealwire sensor add` wrote for NAME, and CA is the certificate of an authority. The
device tries to hear each SUBJECT and to publish to it, too. Says on standard output what happens to
it.
"""

import asyncio
import json
import pathlib
import ssl
import sys

import nats

host, port, folder, name, ca, *subjects = sys.argv[1:]
credential = json.loads(pathlib.Path(folder, f"{name}.json").read_text())
sensor = credential["sensors"][0]
fields = ("alias", "id", "poll_topic", "read_topic")
heartbeat = {"poll_interval": 500, "location": "Hall", **{name: sensor[name] for name in fields}}
heartbeat = json.dumps(heartbeat).encode()


def say(words):
    print(words, flush=True)


async def told(failure):
    say(f"told: {failure}")


async def run():
    closed = asyncio.Event()

    async def on_close():
        closed.set()

    client = await nats.connect(
        f"nats://{host}:{port}",
        tls=ssl.create_default_context(cafile=ca),
        nkeys_seed=str(pathlib.Path(folder, f"{name}.nk")),
        allow_reconnect=False,
        connect_timeout=20,
        error_cb=told,
        closed_cb=on_close,
    )
    say("connected")
    answered = 0

    async def answer(poll):
        nonlocal answered
        answered += 1
        await poll.respond(json.dumps({"value": 8414.25, "seq": answered}).encode())
        if answered % 20 == 0:
            await client.publish(sensor["heartbeat_topic"], heartbeat)

    await client.subscribe(sensor["poll_topic"], cb=answer)
    await client.publish(sensor["heartbeat_topic"], heartbeat)
    for subject in subjects:
        await client.subscribe(subject)
    for subject in set(subjects):
        await client.publish(subject, b"{}")
    await closed.wait()
    say("closed")


try:
    asyncio.run(run())
except Exception as failure:
    say(f"refused: {failure!r}: {failure}")
