"""A hostile middle between a client and a real registry on loopback, and a token server.

middle.py UPSTREAM-PORT LOG BEHAVIOUR [ARGUMENT…]: prints its own port, then answers until killed. Each request is a
line of JSON in LOG. Behaviours: pass; cut N (bytes of a blob, then the connection ends); silent (blobs never come);
busy STATUS SECONDS TIMES; longer; announce (one byte more than there is); flip blobs|manifests; nolength N; norange;
redirect URL; manifest FILE TYPE; challenge TEXT; token KEY CERTIFICATE USER PASSWORD REFRESH.
"""

import base64, http.client, http.server, json, subprocess, sys, threading, time, urllib.parse

upstream, log, behaviour, *arguments = sys.argv[1:]
lock, state = threading.Lock(), {"busy": 0, "token": 0}


def signed(scope):
    """What distribution's token specification wants: a JWT, RS256, with its certificate."""
    key, certificate = arguments[:2]
    pem = open(certificate).read().split("-----")[2]
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")
    kind, name, actions = scope.split(":")
    now = int(time.time())
    access = [{"type": kind, "name": name, "actions": actions.split(",")}]
    claims = {"iss": "test", "aud": "test", "sub": "", "nbf": now - 10, "exp": now + 60, "iat": now, "jti": "1", "access": access}
    text = part({"typ": "JWT", "alg": "RS256", "x5c": ["".join(pem.split())]}) + b"." + part(claims)
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=text, capture_output=True, check=True)
    return (text + b"." + base64.urlsafe_b64encode(signature.stdout).rstrip(b"=")).decode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def fetched(self):
        connection = http.client.HTTPConnection("127.0.0.1", int(upstream))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "connection")}
        path = self.path.removeprefix("/elsewhere")
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        kept = {n: v for n, v in response.getheaders() if n.lower() not in ("content-length", "date", "connection")}
        return response.status, kept, response.read()

    def note(self, form=""):
        with lock, open(log, "a") as file:
            headers = {name.lower(): value for name, value in self.headers.items()}
            file.write(json.dumps({"method": self.command, "path": self.path, "headers": headers, "form": form}) + "\n")

    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.note(form)
        form = dict(urllib.parse.parse_qsl(form))
        if behaviour == "token" and form.get("refresh_token") == arguments[4] and form["grant_type"] == "refresh_token":
            return self.answer(200, {}, json.dumps({"access_token": signed(form["scope"])}).encode())
        self.answer(401, {}, b"{}")

    def do_GET(self):
        self.note()
        path = urllib.parse.urlsplit(self.path)
        blob, manifest = "/blobs/" in path.path, "/manifests/" in path.path
        if behaviour == "token":
            user, password = arguments[2:4]
            wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
            query = dict(urllib.parse.parse_qsl(path.query))
            if self.headers.get("Authorization") != wanted or query.get("own") != "1":
                return self.answer(401, {}, b'{"details": "no"}')
            return self.answer(200, {}, json.dumps({"token": signed(query["scope"])}).encode())
        if behaviour == "challenge" and (blob or manifest):
            return self.answer(401, {"WWW-Authenticate": arguments[0]}, b"")
        if behaviour == "busy" and (blob or manifest):
            with lock:
                state["busy"] += 1
                busy = state["busy"] <= int(arguments[2])
            if busy:
                return self.answer(int(arguments[0]), {"Retry-After": arguments[1]} if arguments[1] != "-" else {}, b"")
        if behaviour == "redirect" and blob and not path.path.startswith("/elsewhere"):
            to = arguments[0].replace("PORT", str(server.server_address[1])).replace("PATH", self.path)
            return self.answer(307, {"Location": to}, b"")
        if behaviour == "manifest" and manifest:
            return self.answer(200, {"Content-Type": arguments[1]}, open(arguments[0], "rb").read())
        if behaviour == "silent" and blob:
            time.sleep(600)
        if behaviour == "norange":
            del self.headers["Range"]
        status, headers, body = self.fetched()
        if behaviour == "flip" and f"/{arguments[0]}/" in path.path and body:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if behaviour == "longer" and blob:
            self.send_response_only(200)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body + b"x" * 5000000)
            self.close_connection = True
            return
        if behaviour == "announce" and blob:
            return self.answer(status, headers, body + b"x")
        if behaviour in ("cut", "norange") and blob and len(body) > int(arguments[0]):
            headers["Content-Length"] = str(len(body))
            self.close_connection = True
            with lock:
                state["busy"] += 1
            if behaviour == "cut" or state["busy"] <= 2:
                return self.answer(status, headers, body[: int(arguments[0])])
        if behaviour == "nolength" and blob and len(body) > int(arguments[0]):
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body[: int(arguments[0])])
            self.close_connection = True
            return
        self.answer(status, headers, body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
# A client that hangs up is what many of the tests are about.
server.handle_error = lambda *_: None
print(server.server_address[1], flush=True)
server.serve_forever()
