#!/usr/bin/env python3
"""A stand-in of GitHub: one repository behind git's own `http-backend`, and its pull requests.

    github.py DIRECTORY TOKEN        prints its port, and serves until it is ended

Like GitHub, it takes the token as the password of Basic authentication for git and as a Bearer for the API, and opens a pull
request only for a branch that was pushed. DIRECTORY gets `shop.git`, and each pull request as a line of `pulls`.
"""

import base64
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

directory, token = sys.argv[1:]
repository = os.path.join(directory, "shop.git")


def git(*words, inside, **more):
    identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@shop.example"]
    return subprocess.run(["git", *identity, *words], cwd=inside, check=True, capture_output=True, text=True, **more).stdout


class GitHub(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, document, **headers):
        body = json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def pull(self, asked):
        branches = git("for-each-ref", "--format=%(refname:short)", "refs/heads", inside=repository).split()
        if asked["head"] not in branches or asked["base"] not in branches:
            return self.answer(422, {"message": "Validation Failed"})
        with open(os.path.join(directory, "pulls"), "a", encoding="utf-8") as file:
            file.write(json.dumps(asked) + "\n")
        return self.answer(201, {"number": 7, "html_url": "https://github.example/my-company/shop/pull/7"})

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path.startswith("/repos/"):
            if self.headers.get("Authorization") != f"Bearer {token}":
                return self.answer(401, {"message": "Bad credentials"})
            return self.pull(json.loads(self.body()))
        basic = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {basic}":
            return self.answer(401, {}, WWW_Authenticate='Basic realm="GitHub"')
        environment = {
            "GIT_PROJECT_ROOT": directory,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path.removeprefix("/my-company"),
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_USER": "x-access-token",
            "PATH": os.environ["PATH"],
        }
        backend = subprocess.run(["git", "http-backend"], env=environment, input=self.body(), capture_output=True, check=True)
        head, _, body = backend.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200 OK").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    do_POST = do_GET


git("init", "--quiet", "--bare", "--initial-branch=main", repository, inside=directory)
work = os.path.join(directory, "work")
git("clone", "--quiet", repository, work, inside=directory)
with open(os.path.join(work, "note.txt"), "w", encoding="utf-8") as note:
    note.write("broken\n")
git("add", "note.txt", inside=work)
git("commit", "--quiet", "--message", "Begin", inside=work)
git("push", "--quiet", "origin", "HEAD:refs/heads/main", inside=work)
server = ThreadingHTTPServer(("127.0.0.1", 0), GitHub)
print(server.server_port, flush=True)
server.serve_forever()
