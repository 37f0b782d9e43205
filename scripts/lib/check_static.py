"""Checks static programs: scripts/lib/check_static.py [--other-machine] PROGRAM...

Each must have no interpreter and need no library, and be position-independent. Unless they are another machine's, each must tell
its version in a root directory that holds nothing else; the functions, which have no options, must ask for Lambda. `sealfleet-init` must also fetch a step and run it there: it finds one host by /etc/hosts and another by DNS, although
nsswitch.conf names a module that the root lacks, as it does on hosts with systemd. Needs bubblewrap.
"""

import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

LOAD, DYNAMIC, INTERPRETER = 1, 2, 3
NEEDED, END = 1, 0
SHARED = 3  # ET_DYN
STEP = """
import http.server, json, socket, struct, subprocess, sys, threading

STEP = json.dumps({"command": ["/sealfleet-init", "--version"], "timeout_seconds": 10}).encode()
ROLE = json.dumps({"AccessKeyId": "key", "SecretAccessKey": "key"}).encode()

class Answers(http.server.BaseHTTPRequestHandler):
    def answer(self, body):
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.answer(ROLE)
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(STEP)
    def log_message(self, *words):
        pass

# Names of one address: RFC 1035, section 4.
def names(server):
    while True:
        query, sender = server.recvfrom(4096)
        end = query.index(bytes(1), 12) + 5
        kind = struct.unpack(">H", query[end - 4:end - 2])[0]
        found = struct.pack(">HHHIH", 0xC00C, 1, 1, 5, 4) + socket.inet_aton("127.0.0.1") if kind == 1 else b""
        server.sendto(query[:2] + struct.pack(">HHHHH", 0x8180, 1, bool(found), 0, 0) + query[12:end] + found, sender)

dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
dns.bind(("127.0.0.1", 53))
threading.Thread(target=names, args=(dns,), daemon=True).start()
http = http.server.ThreadingHTTPServer(("127.0.0.1", 80), Answers)
threading.Thread(target=http.serve_forever, daemon=True).start()
environment = {
    "SEALFLEET_API_URL": "http://by-hosts.test", "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://by-dns.test/role",
    "SEALFLEET_PROJECT": "p", "SEALFLEET_RUN": "r", "SEALFLEET_STEP": "s", "SEALFLEET_FENCE": "1", "SEALFLEET_REGION": "eu-west-1",
}
sys.exit(subprocess.run(["/usr/sbin/chroot", sys.argv[1], "/sealfleet-init", "fargate"], env=environment).returncode)
"""


def headers(elf):
    """Type and program headers of a 64-bit little-endian file; elf(5)."""
    if elf[:6] != b"\x7fELF\x02\x01":
        raise ValueError("no 64-bit little-endian ELF file")
    kind, = struct.unpack_from("<H", elf, 16)
    start, = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    found = []
    for number in range(count):
        of, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", elf, start + number * size)
        found.append((of, offset, length))
    return kind, found


def faults(elf):
    kind, found = headers(elf)
    if kind != SHARED:
        yield "is not position-independent"
    for of, offset, length in found:
        if of == INTERPRETER:
            yield f"needs the interpreter {elf[offset:offset + length].rstrip(bytes(1)).decode()}"
        if of == DYNAMIC:
            tags = [struct.unpack_from("<QQ", elf, at)[0] for at in range(offset, offset + length, 16)]
            tags = tags[:tags.index(END)] if END in tags else tags
            if NEEDED in tags:
                yield "needs shared libraries"


def said(command):
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return f"{answer.stdout}{answer.stderr}".strip(), answer.returncode


def check(program, other_machine):
    for fault in faults(program.read_bytes()):
        yield fault
    if other_machine:
        return
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place) / "root"
        root.mkdir()
        shutil.copy(program, root / program.name)
        words, code = said(["bwrap", "--unshare-all", "--ro-bind", root, "/", f"/{program.name}", "--version"])
        if program.name == "sealfleet-functions":
            if "_HANDLER" not in words:
                yield f"does not start in an empty root: {words}"
        elif code or not words.startswith(f"{program.name} "):
            yield f"does not tell its version in an empty root: {words}"
        if program.name != "sealfleet-init":
            return
        version = words
        (root / "etc").mkdir()
        (root / "etc/hosts").write_text("127.0.0.1 by-hosts.test\n")
        (root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
        (root / "etc/nsswitch.conf").write_text("hosts: missing files dns\n")
        # Root and capabilities in a network of its own: for the ports, and for the change of the root.
        alone = ["bwrap", "--unshare-net", "--unshare-user", "--uid", "0", "--cap-add", "ALL", "--dev-bind", "/", "/"]
        words, code = said([*alone, sys.executable, "-c", STEP, root])
        if (words, code) != (version, 0):
            yield f"does not run a step in an empty root: exit code {code}: {words}"


programs = [word for word in sys.argv[1:] if word and not word.startswith("--")]
if not programs:
    sys.exit(__doc__)
wrong = []
for name in programs:
    wrong += [f"{name} {fault}" for fault in check(pathlib.Path(name), "--other-machine" in sys.argv)]
sys.exit("\n".join(wrong) or None)
