"""A leaf node that keeps to no rule: HOST PORT FILE CA LINE...

FILE is what `sealwire sensor add` wrote, and CA the certificate of an authority. It sends each LINE
of the protocol once it is let in, the payload of an LMSG included. Says on standard output what it
receives, but for the sensors' own heartbeats.
"""

import json
import socket
import ssl
import sys

host, port, file, ca, *lines = sys.argv[1:]
credential = json.load(open(file))
connection = socket.create_connection((host, int(port)))
info = b""
while not info.endswith(b"\n"):
    info += connection.recv(1)
connection = ssl.create_default_context(cafile=ca).wrap_socket(connection, server_hostname=host)
print("certificate", connection.getpeercert()["serialNumber"], flush=True)
stream = connection.makefile("rwb")
options = {
    "name": "rogue",
    "user": credential["mqtt_user"],
    "pass": credential["mqtt_password"],
    "headers": True,
    "tls_required": True,
}
stream.write(f"CONNECT {json.dumps(options)}\r\nPING\r\n".encode())
stream.flush()
said = None
while line := stream.readline():
    words = line.decode().strip()
    print(words[:300], flush=True)
    if words == "PONG":
        if said is None:
            said = iter(lines)
        line = next(said, None)
        if line is not None:
            stream.write(line.encode().decode("unicode_escape").encode() + b"\r\nPING\r\n")
    elif words == "PING":
        stream.write(b"PONG\r\n")
    stream.flush()
print("closed", flush=True)
