"""A device of the sensor protocol with umqtt.simple.

HOST, PORT and CA are set from outside, and /credential.json is what `sealwire sensor add` wrote.
"""

import json
import sys

from umqtt.simple import MQTTClient, MQTTException

with open("/credential.json") as file:
    credential = json.load(file)
sensor = credential["sensors"][0]
topic = {name: sensor[name + "_topic"].replace(".", "/") for name in ("heartbeat", "poll", "read")}
heartbeat = {
    "alias": sensor["alias"],
    "id": sensor["id"],
    "poll_interval": 500,
    "poll_topic": topic["poll"],
    "read_topic": topic["read"],
    "location": "Hall",
}
answered = 0

client = MQTTClient(
    credential["mqtt_client_id"],
    HOST,
    PORT,
    user=credential["mqtt_user"],
    password=credential["mqtt_password"],
    keepalive=60,
    ssl=True,
    ssl_params={"ca": CA},
)


def beat():
    client.publish(topic["heartbeat"], json.dumps(heartbeat))


def answer(_topic, _poll):
    global answered
    answered += 1
    client.publish(topic["read"], json.dumps({"value": 8414.25, "seq": answered}))
    if answered % 20 == 0:
        beat()


client.set_callback(answer)
try:
    client.connect()
    client.subscribe(topic["poll"])
    beat()
    print("connected: " + sys.version)
    while True:
        client.wait_msg()
except (MQTTException, OSError) as failure:
    print("closed: " + repr(failure))
