"""An application that hands in events with nats-py: HOST PORT NAME SEED_FILE [CA].

Takes a line of JSON on standard input for each thing to do, and says on standard output what came
of it, in a line of JSON each:

    {"request": SUBJECT, "payload": TEXT, "key": TEXT}  asks, and says the answer
    {"publish": SUBJECT, "payload": TEXT, "reply": SUBJECT}  publishes
    {"hear": SUBJECT}  subscribes
    {"logins": COUNT, "each": COUNT, "at_once": COUNT}  hands in logins until each has a receipt

What the server refuses is said too, and the end of the connection.
"""

import asyncio
import json
import ssl
import sys

import nats
from nats.errors import ConnectionClosedError, Error

HOST, PORT, NAME, SEED_FILE, *CA = sys.argv[1:]
KEY = "Nats-Msg-Id"


def say(**words):
    print(json.dumps(words), flush=True)


async def told(failure):
    say(told=str(failure))


async def closed():
    say(closed=True)


def login(number):
    return {"action": "login", "actor": f"user-{number}", "message": f"user-{number} logged in"}


class Application:
    def __init__(self, client):
        self.client = client

    async def ask(self, subject, payload, key, timeout):
        headers = {KEY: key} if key else None
        answer = await self.client.request(subject, payload, timeout=timeout, headers=headers)
        return json.loads(answer.data)

    async def do(self, order):
        if "request" in order:
            key = order.get("key")
            payload = order["payload"].encode()
            say(answer=await self.ask(order["request"], payload, key, 60))
        elif "publish" in order:
            payload = order["payload"].encode()
            await self.client.publish(order["publish"], payload, reply=order.get("reply", ""))
            await self.client.flush()
            say(published=True)
        elif "hear" in order:
            await self.client.subscribe(order["hear"])
            await self.client.flush()
            say(hears=True)
        else:
            await self.log_in(order["logins"], order["each"], order["at_once"])

    async def log_in(self, count, each, at_once):
        places = asyncio.Semaphore(at_once)

        async def hand_in(first):
            async with places:
                events = [login(number) for number in range(first, first + each)]
                payload = json.dumps(events).encode()
                # Whatever goes wrong, the same again under the same key.
                while True:
                    try:
                        subject = f"events.{NAME}.login"
                        answer = await self.ask(subject, payload, f"logins from {first}", 3)
                    except Error:
                        await asyncio.sleep(0.1)
                        continue
                    if "receipts" in answer:
                        say(first=first, size=answer["size"], receipts=answer["receipts"])
                        return
                    if answer["status"] not in (429, 503):
                        say(refused=answer)
                        return

        await asyncio.gather(*(hand_in(first) for first in range(0, count, each)))
        say(done=count)


async def run():
    tls = ssl.create_default_context(cafile=CA[0]) if CA else None
    client = await nats.connect(
        f"nats://{HOST}:{PORT}",
        tls=tls,
        nkeys_seed=SEED_FILE,
        inbox_prefix=f"_INBOX.{NAME}".encode(),
        allow_reconnect=False,
        connect_timeout=20,
        error_cb=told,
        closed_cb=closed,
    )
    say(connected=True)
    application = Application(client)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            await application.do(json.loads(line))
        except ConnectionClosedError:
            return
        except Error as failure:
            say(failed=repr(failure))


try:
    asyncio.run(run())
except Exception as failure:
    say(refused=f"{failure!r}: {failure}")
