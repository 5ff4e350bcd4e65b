"""TLS for MicroPython in WebAssembly: that of the machine around it."""

import line


def wrap_socket(socket, ca):
    line.secure(ca)
    return socket
