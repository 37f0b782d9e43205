//! Programs of others under mediation: what agents and their tools are made of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cases::{Case, directory, good};
use crate::proxy::SENTENCE;
use crate::stage::{self, MODEL, Options, PROXY, Report};

/// `nobody`, as which sandboxes run.
const NOBODY: u32 = 65534;

pub fn all() -> Vec<(String, Case)> {
    let cases: [(&str, fn()); 8] = [
        ("python", python),
        ("node", node),
        ("curl", curl),
        ("git", git),
        ("java", java),
        ("go", go),
        ("codex", codex),
        ("claude-code", claude_code),
    ];
    let named = |(name, case): (&str, fn())| (format!("programs::{name}"), Box::new(case) as Case);
    cases.map(named).into()
}

/// The paths that a host's own programs have. Others, as a version manager's, may be root's.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Whether the program is there.
fn has(program: &str) -> bool {
    let found = PATH
        .split(':')
        .any(|directory| Path::new(directory).join(program).exists());
    if !found {
        skip(program);
    }
    found
}

/// # Panics
/// If nothing may be missing.
pub fn skip(what: &str) {
    let required =
        std::env::var_os("SEALFLEET_TEST_MEDIATED").is_some_and(|value| value == "required");
    assert!(!required, "{what} is missing");
    eprintln!("skipped: {what} is not installed");
}

struct Room {
    place: tempfile::TempDir,
    options: Options,
}

impl Room {
    fn new() -> Self {
        let place = directory(Some(NOBODY));
        let home = place.path().to_str().unwrap().to_owned();
        let proxy = format!("http://{PROXY}");
        let environment = [
            ("PATH", PATH.to_owned()),
            ("HOME", home.clone()),
            ("TMPDIR", home),
            ("http_proxy", proxy.clone()),
            ("https_proxy", proxy),
            ("no_proxy", String::new()),
            ("LANG", "C.UTF-8".to_owned()),
        ];
        let options = Options {
            user: Some(NOBODY),
            own_listeners: true,
            directory: Some(place.path().to_owned()),
            environment: BTreeMap::from(environment.map(|(name, value)| (name.to_owned(), value))),
            ..Options::default()
        };
        Self { place, options }
    }

    fn file(&self, name: &str, content: &str) {
        std::fs::write(self.place.path().join(name), content).unwrap();
    }

    /// Runs a command that must end well, and answers what it printed.
    fn says(&self, command: &[&str]) -> String {
        let report = stage::play(&self.options, command);
        good(&report);
        report.stdout
    }

    fn runs(&self, command: &[&str]) -> Report {
        stage::play(&self.options, command)
    }
}

fn python() {
    if !has("python3") {
        return;
    }
    let room = Room::new();
    room.file(
        "look.py",
        r#"
import asyncio, http.server, socket, threading, urllib.request
with socket.create_connection(("127.0.0.1", 3128), timeout=5) as stream:
    stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
    print("socket", stream.recv(4096).decode().split("\r\n\r\n")[1])
print("urllib", urllib.request.urlopen("http://example.com/").read().decode())
async def look():
    reader, writer = await asyncio.open_connection("127.0.0.1", 3128)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    print("asyncio", (await reader.readexactly(17)).decode())
    writer.close()
    try:
        await asyncio.open_connection("169.254.170.2", 80)
    except OSError as error:
        print("asyncio", error.errno)
asyncio.run(look())
for host, port in [("169.254.170.2", 80), ("169.254.169.254", 80), ("10.77.0.1", 443), ("::1", 4001)]:
    try:
        socket.create_connection((host, port), timeout=5)
        print("reached", host)
    except OSError as error:
        print(error.errno, error.strerror)
for family, kind in [(socket.AF_INET, socket.SOCK_DGRAM), (socket.AF_VSOCK, socket.SOCK_STREAM)]:
    try:
        socket.socket(family, kind)
        print("made", family, kind)
    except OSError as error:
        print(error.errno)
class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"own server")
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(direct.open(f"http://localhost:{server.server_port}/").read().decode())
"#,
    );
    let expected = format!(
        "socket {SENTENCE}\nurllib {SENTENCE}\nasyncio {SENTENCE}\nasyncio 13\n{}13\n97\nown server\n",
        "13 Permission denied\n".repeat(4)
    );
    assert_eq!(room.says(&["python3", "look.py"]), expected);
}

fn node() {
    if !has("node") {
        return;
    }
    let room = Room::new();
    room.file(
        "look.mjs",
        r#"
import http from 'node:http';
import net from 'node:net';
const text = await (await fetch('http://127.0.0.1:3128/')).text();
console.log('fetch', text);
const answer = await new Promise((resolve, reject) => {
  http.get({ host: '127.0.0.1', port: 3128, path: 'http://example.com/' }, resolve).on('error', reject);
});
console.log('http', answer.statusCode);
answer.resume();
const codes = [];
for (const [host, port] of [['169.254.170.2', 80], ['169.254.169.254', 80], ['127.0.0.1', 4000], ['::1', 4001]]) {
  codes.push(await new Promise((resolve) => {
    net.connect({ host, port }).on('connect', () => resolve('reached')).on('error', (error) => resolve(error.code));
  }));
}
console.log(codes.join(' '));
const server = http.createServer((_, response) => response.end('own server')).listen(0);
await new Promise((resolve) => server.on('listening', resolve));
console.log(await (await fetch(`http://localhost:${server.address().port}/`)).text());
await Promise.all(Array.from({ length: 200 }, async () => (await fetch('http://127.0.0.1:3128/')).text()));
process.exit(0);
"#,
    );
    let expected = format!("fetch {SENTENCE}\nhttp 200\nEACCES EACCES EACCES EACCES\nown server\n");
    assert_eq!(room.says(&["node", "look.mjs"]), expected);
}

fn curl() {
    if !has("curl") {
        return;
    }
    let room = Room::new();
    let url = "http://example.com/";
    assert_eq!(
        room.says(&["curl", "-sS", "--max-time", "20", url]),
        SENTENCE
    );
    let direct = ["curl", "-sS", "--noproxy", "*", "--max-time", "20"];
    for url in [
        "http://169.254.170.2/",
        "http://169.254.169.254/",
        "http://[::1]:4001/",
    ] {
        let report = room.runs(&[&direct[..], &[url]].concat());
        // "Failed to connect to host".
        assert_eq!(report.code, 7, "{}", report.stderr);
        assert_eq!(report.trapped, BTreeMap::new());
    }
    // "Couldn't resolve host".
    let report = room.runs(&[&direct[..], &[url]].concat());
    assert_eq!(
        (report.code, report.trapped),
        (6, BTreeMap::new()),
        "{}",
        report.stderr
    );
}

fn git() {
    if !has("git") {
        return;
    }
    let mut room = Room::new();
    let served = directory(None);
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.com"])
            .args(words);
        let output = git.current_dir(served.path()).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    git(&["init", "-q", "-b", "main", "work"]);
    std::fs::write(served.path().join("work/file"), "cloned\n").unwrap();
    git(&["-C", "work", "add", "file"]);
    git(&["-C", "work", "commit", "-q", "-m", "one"]);
    git(&["clone", "-q", "--bare", "work", "repository.git"]);
    git(&["-C", "repository.git", "update-server-info"]);
    room.options.files = Some(served.path().to_owned());
    let script = "git clone -q http://example.com/repository.git here && cat here/file";
    assert_eq!(room.says(&["/bin/sh", "-c", script]), "cloned\n");
}

fn java() {
    // The compiler, to begin with.
    if !has("javac") {
        return;
    }
    let room = Room::new();
    room.file(
        "Look.java",
        r#"
import java.net.*;
import java.net.http.*;
import java.nio.channels.*;
public class Look {
  public static void main(String[] words) throws Exception {
    var client = HttpClient.newBuilder().proxy(ProxySelector.of(new InetSocketAddress("127.0.0.1", 3128))).build();
    var request = HttpRequest.newBuilder(URI.create("http://example.com/")).build();
    System.out.println(client.send(request, HttpResponse.BodyHandlers.ofString()).body());
    try (var socket = new Socket()) {
      socket.setTcpNoDelay(true);
      socket.connect(new InetSocketAddress("127.0.0.1", 3128), 5000);
      System.out.println("socket " + socket.getTcpNoDelay());
    }
    // Registered with a selector before it is connected.
    var selector = Selector.open();
    var channel = SocketChannel.open();
    channel.configureBlocking(false);
    var key = channel.register(selector, 0);
    if (!channel.connect(new InetSocketAddress("127.0.0.1", 3128))) {
      key.interestOps(SelectionKey.OP_CONNECT);
      selector.select(5000);
    }
    System.out.println("channel " + channel.finishConnect());
    for (var host : new String[] {"169.254.170.2", "169.254.169.254"}) {
      try (var socket = new Socket(host, 80)) {
        System.out.println("reached");
      } catch (java.io.IOException error) {
        System.out.println(error.getMessage());
      }
    }
    try (var server = new ServerSocket(0); var socket = new Socket("127.0.0.1", server.getLocalPort())) {
      System.out.println("own server " + (server.accept() != null));
    }
  }
}
"#,
    );
    let compiled = Command::new("javac")
        .current_dir(room.place.path())
        .arg("Look.java")
        .output();
    let compiled = compiled.unwrap();
    assert!(
        compiled.status.success(),
        "{}",
        String::from_utf8_lossy(&compiled.stderr)
    );
    let denied = "Permission denied";
    let told = room.says(&["java", "-cp", ".", "Look"]);
    let expected =
        format!("{SENTENCE}\nsocket true\nchannel true\n{denied}\n{denied}\nown server true\n");
    assert_eq!(told, expected);
}

fn go() {
    if !has("go") {
        return;
    }
    let room = Room::new();
    room.file(
        "look.go",
        r#"
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
	"time"
)

func main() {
	answer, err := http.Get("http://example.com/")
	if err != nil {
		panic(err)
	}
	body, _ := io.ReadAll(answer.Body)
	fmt.Println(string(body))
	var group sync.WaitGroup
	for i := 0; i < 100; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			connection, err := net.DialTimeout("tcp", "127.0.0.1:3128", 20*time.Second)
			if err != nil {
				panic(err)
			}
			connection.Close()
		}()
	}
	group.Wait()
	for _, address := range []string{"169.254.170.2:80", "169.254.169.254:80", "[::1]:4001"} {
		_, err := net.Dial("tcp", address)
		fmt.Println(errors.Is(err, syscall.EACCES))
	}
	_, err = net.Dial("udp", "10.77.0.1:53")
	fmt.Println(errors.Is(err, syscall.EACCES))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "own server") }))
	answer, err = server.Client().Get(server.URL)
	if err != nil {
		panic(err)
	}
	body, _ = io.ReadAll(answer.Body)
	fmt.Println(string(body))
}
"#,
    );
    let mut go = Command::new("go");
    go.args(["build", "-o", "look", "look.go"])
        .current_dir(room.place.path());
    let built = go
        .env("GOFLAGS", "-mod=mod")
        .env("GO111MODULE", "off")
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let expected = format!("{SENTENCE}\n{}own server\n", "true\n".repeat(4));
    assert_eq!(room.says(&["./look"]), expected);
}

/// An agent's program, if it is installed (`scripts/lib/npm_packages.py`).
pub fn agent(cli: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../images/agents/node_modules");
    let program = folder.join(match cli {
        "codex" => "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex",
        _ => "@anthropic-ai/claude-code-linux-x64/claude",
    });
    if program.exists() {
        return Some(program);
    }
    let required =
        std::env::var_os("SEALFLEET_TEST_AGENTS").is_some_and(|value| value == "required");
    assert!(!required, "`{}` is missing", program.display());
    skip(cli);
    None
}

/// Codex's configuration, for the model's stand-in.
pub fn codex_settings() -> String {
    format!(
        "model = \"gpt-5.1-codex\"\nmodel_provider = \"local\"\n\
         [model_providers.local]\nname = \"local\"\nbase_url = \"http://{MODEL}/v1\"\n\
         env_key = \"OPENAI_API_KEY\"\nwire_api = \"responses\"\n"
    )
}

/// How Codex is called.
pub const CODEX: [&str; 5] = [
    "exec",
    "--skip-git-repo-check",
    "--dangerously-bypass-approvals-and-sandbox",
    "--json",
    "edit the note",
];

fn codex() {
    let Some(program) = agent("codex") else {
        return;
    };
    let mut room = with_agent(&program);
    let home = room.place.path().join("home/.codex");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("config.toml"), codex_settings()).unwrap();
    own(&room.place.path().join("home"));
    let home = room.place.path().join("home").to_str().unwrap().to_owned();
    room.options.environment.insert("HOME".to_owned(), home);
    room.options
        .environment
        .insert("OPENAI_API_KEY".to_owned(), "key".to_owned());
    let told = room.says(&[&["./agent"][..], &CODEX].concat());
    assert!(told.contains("I wrote the note."), "{told}");
    let note = std::fs::read_to_string(room.place.path().join("note.txt")).unwrap();
    assert_eq!(note, "edited\n");
}

fn claude_code() {
    let Some(program) = agent("claude-code") else {
        return;
    };
    let mut room = with_agent(&program);
    for (name, value) in [
        ("ANTHROPIC_API_KEY", "key"),
        ("ANTHROPIC_BASE_URL", &format!("http://{MODEL}")),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ] {
        room.options
            .environment
            .insert(name.to_owned(), value.to_owned());
    }
    let told = room.says(&[
        "./agent",
        "-p",
        "edit the note",
        "--output-format",
        "json",
        "--dangerously-skip-permissions",
    ]);
    assert!(told.contains("I wrote the note."), "{told}");
    let note = std::fs::read_to_string(room.place.path().join("note.txt")).unwrap();
    assert_eq!(note, "edited\n");
}

/// A room with an agent's program in it, and a model.
fn with_agent(program: &Path) -> Room {
    let mut room = Room::new();
    // The program may lie in a directory of root's.
    std::fs::copy(
        program.canonicalize().unwrap(),
        room.place.path().join("agent"),
    )
    .unwrap();
    room.options.model = true;
    room.options
        .environment
        .insert("no_proxy".to_owned(), "127.0.0.1".to_owned());
    room
}

/// Gives a directory and what is in it to the user of the command.
fn own(directory: &Path) {
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap_or(());
        if path.is_dir() {
            waiting.extend(
                std::fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
}
