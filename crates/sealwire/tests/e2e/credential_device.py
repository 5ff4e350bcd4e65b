"""A device with a credential: nats|mqtt HOST PORT FILE [CA], or reports HOST PORT FILE CA TOPIC=PAYLOAD... by MQTT for one that reports by itself. FILE is what `sealwire sensor add` wrote; with CA, the certificate of an authority, it speaks TLS alone. Says on standard output what happens to it."""

import base64
import json
import socket
import ssl
import sys

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

protocol, host, port, file = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
ca = sys.argv[5] if len(sys.argv) > 5 else None
credential = json.load(open(file))
sensor = credential.get("sensors", [{}])[0]
heartbeat = {name: sensor.get(name) for name in ("alias", "id", "poll_topic", "read_topic", "disconnect_topic")}
heartbeat.update(poll_interval=300, location="Hall")


def say(words):
    print(words, flush=True)


def by_nats():
    padded = credential["nkey_seed"] + "=" * (-len(credential["nkey_seed"]) % 8)
    key = Ed25519PrivateKey.from_private_bytes(base64.b32decode(padded)[2:34])
    connection = socket.create_connection((host, port))
    info = b""
    while not info.endswith(b"\n"):
        info += connection.recv(1)
    # A gateway that asks nobody for a key sends none.
    nonce = json.loads(info[5:]).get("nonce", "")
    if ca:
        connection = ssl.create_default_context(cafile=ca).wrap_socket(connection, server_hostname=host)
        say("certificate " + connection.getpeercert()["serialNumber"])
    stream = connection.makefile("rwb")
    raw = key.public_key().public_bytes_raw()
    named = bytes([20 << 3]) + raw
    crc = 0
    for byte in named:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021) & 0xFFFF if crc & 0x8000 else (crc << 1) & 0xFFFF
    public = base64.b32encode(named + crc.to_bytes(2, "little")).decode().rstrip("=")
    signature = base64.urlsafe_b64encode(key.sign(nonce.encode())).decode().rstrip("=")
    options = {"nkey": public, "sig": signature, "verbose": False, "lang": "python"}

    def publish(subject, payload):
        stream.write(f"PUB {subject} {len(payload)}\r\n{payload}\r\n".encode())

    stream.write(f"CONNECT {json.dumps(options)}\r\nSUB {sensor['poll_topic']} 1\r\n".encode())
    publish(sensor["heartbeat_topic"], json.dumps(heartbeat))
    stream.write(b"PING\r\n")
    stream.flush()
    count = 0
    while line := stream.readline():
        if line.startswith(b"PONG"):
            say("connected")
        elif line.startswith(b"-ERR"):
            say(line.decode().strip())
        elif line.startswith(b"PING"):
            stream.write(b"PONG\r\n")
        elif line.startswith(b"MSG"):
            stream.readline()
            count += 1
            publish(sensor["read_topic"], json.dumps({"value": 20 + count % 5, "seq": count}))
        stream.flush()
    say("closed")


def connect_by_mqtt(on_connect, on_message):
    def on_disconnect(client, userdata, flags, reason, properties):
        say("closed")
        client.disconnect()

    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=credential["mqtt_client_id"],
        reconnect_on_failure=False,
    )
    client.username_pw_set(credential["mqtt_user"], credential["mqtt_password"])
    client.on_connect, client.on_message, client.on_disconnect = on_connect, on_message, on_disconnect
    if ca:
        client.tls_set(ca)
    client.connect(host, port, keepalive=60)
    client.loop_forever()


def by_itself():
    def on_connect(client, userdata, flags, reason, properties):
        say("connected" if reason == 0 else f"refused: {reason}")
        if reason != 0:
            client.disconnect()
            return
        client.subscribe("#", 1)
        for message in sys.argv[6:]:
            topic, payload = message.split("=", 1)
            client.publish(topic, payload, 1)

    def on_message(client, userdata, message):
        say("heard " + message.topic)

    connect_by_mqtt(on_connect, on_message)


def by_mqtt():
    topic = lambda name: sensor[name].replace(".", "/")
    heartbeat.update({name: topic(name) for name in ("poll_topic", "read_topic", "disconnect_topic")})
    count = 0

    def on_connect(client, userdata, flags, reason, properties):
        say("connected" if reason == 0 else f"refused: {reason}")
        if reason != 0:
            client.disconnect()
            return
        client.subscribe(topic("poll_topic"), 1)
        client.publish(topic("heartbeat_topic"), json.dumps(heartbeat), 1)

    def on_message(client, userdata, message):
        nonlocal count
        count += 1
        client.publish(topic("read_topic"), json.dumps({"value": 20 + count % 5, "seq": count}), 1)

    connect_by_mqtt(on_connect, on_message)


{"nats": by_nats, "mqtt": by_mqtt, "reports": by_itself}[protocol]()
