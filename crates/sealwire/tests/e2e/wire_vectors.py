"""Makes the signed bytes of each vector again and checks its signature, with code that is not ours: FILE."""

import base64
import datetime
import json
import struct
import sys
import uuid

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def number(tag, value):
    return b"" if value is None else struct.pack(">BQ", tag, value)


def text(tag, value):
    if value is None:
        return b""
    encoded = value.encode()
    return struct.pack(">BH", tag, len(encoded)) + encoded


def micros(time):
    return time and (datetime.datetime.fromisoformat(time) - EPOCH) // datetime.timedelta(microseconds=1)


def signed_bytes(sealed):
    parts = [
        b"sealwire reading v1\n",
        uuid.UUID(sealed["sensor"]).bytes,
        text(1, sealed.get("nonce")),
        number(2, sealed.get("seq")),
        text(3, sealed.get("boot")),
        number(4, sealed.get("uptime")),
        number(5, micros(sealed.get("sensor_time"))),
        number(6, sealed.get("time_error")),
    ]
    channels = sealed.get("channels")
    if channels is None:
        parts += [text(7, sealed["new"]), text(10, sealed.get("unit"))]
    else:
        parts.append(text(8, sealed["new"]))
        for channel in json.loads(channels):
            parts += [text(9, channel["name"]), text(10, channel.get("unit"))]
            if channel.get("scale", 0) != 0:
                parts.append(struct.pack(">Bb", 11, channel["scale"]))
    return b"".join(parts)


def check(path):
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    seed, public = bytes.fromhex(vectors["seed"]), bytes.fromhex(vectors["public_key"])
    assert Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() == public
    for vector in vectors["readings"]:
        signed = signed_bytes(vector["sealed"])
        assert signed.hex() == vector["signed"], vector["about"]
        signature = base64.b64decode(vector["signature"], validate=True)
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
        assert json.loads(vector["answer"])["signature"] == vector["signature"], vector["about"]
    return len(vectors["readings"])


if __name__ == "__main__":
    print(check(sys.argv[1]))
