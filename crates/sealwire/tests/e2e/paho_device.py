"""A device of the sensor protocol, written with paho-mqtt: PORT ID. Answers polls with a counted value until it is killed."""

import json
import sys

import paho.mqtt.client as mqtt

port, sensor = int(sys.argv[1]), sys.argv[2]
seq = 0

heartbeat = {
    "alias": "PahoSensor",
    "id": sensor,
    "poll_interval": 300,
    "poll_topic": f"picow/{sensor}/poll",
    "read_topic": f"picow/{sensor}/read",
    "disconnect_topic": f"picow/{sensor}/disconnect",
    "ip_addr": "192.168.1.8",
    "mac_addr": "28:cd:c1:03:e2:9f",
    "location": "Hall",
}


def on_connect(client, userdata, flags, reason_code, properties):
    client.subscribe(heartbeat["poll_topic"])
    client.publish("picow/heartbeat", json.dumps(heartbeat))


def on_message(client, userdata, message):
    global seq
    seq += 1
    client.publish(heartbeat["read_topic"], json.dumps({"value": 20 + seq % 5, "seq": seq}))


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"paho-{sensor}")
client.on_connect = on_connect
client.on_message = on_message
client.reconnect_delay_set(min_delay=1, max_delay=1)
client.connect("127.0.0.1", port, keepalive=5)
client.loop_forever(retry_first_connection=True)
