"""What stands between an SDK and a site in these tests: a stand-in of arweave.net, and a proxy that loses answers and changes bytes of them."""

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/graphql":
            # arweave.net knows of no root of a self-hosted log.
            return self.send(200, {}, b'{"data":{"transactions":{"edges":[]}}}')
        self.forward(body)

    def do_GET(self):
        self.forward(b"")

    def forward(self, body):
        between = self.server.between
        upstream = http.client.HTTPConnection(between.site, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        upstream.request(self.command, self.path, body, {**headers, "Host": between.site})
        answer = upstream.getresponse()
        status, content = answer.status, answer.read()
        between.seen.append((self.path, dict(self.headers), answer.headers["x-request-id"]))
        if between.lose:
            # The site has done it, and the client does not hear so.
            status = between.lose.pop(0)
            content = json.dumps({**json.loads(content), "status": "ServiceNotAvailable", "result": {}}).encode()
        elif between.replace:
            content = content.replace(*between.replace)
        self.send(status, answer.headers, content)

    def send(self, status, headers, content):
        self.send_response(status)
        for name in ("content-type", "x-request-id"):
            self.send_header(name, headers.get(name) or "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A client that closes a connection is no error."""


class Between:
    """Listens on a free port. `lose`: statuses for the next answers; `replace`: bytes for others in every answer."""

    def __init__(self, site):
        self.site, self.lose, self.replace, self.seen = site, [], None, []
        server = Server(("127.0.0.1", 0), Handler)
        server.between = self
        self.base = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()


if __name__ == "__main__":
    # For clients in another language: prints its address, then does what it is told, a line of JSON each.
    import sys

    between = Between(sys.argv[1])
    print(between.base, flush=True)
    for line in sys.stdin:
        told = json.loads(line)
        between.lose = told.get("lose", [])
        between.replace = tuple(text.encode() for text in told["replace"]) if "replace" in told else None
        print("done", flush=True)
