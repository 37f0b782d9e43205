//! `sealfleet-init fargate` against a small HTTP server in the place of the task metadata endpoint
//! and the control plane.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Of `the-value`.
const MD5_OF_VALUE: &str = "c7039860c4215dd3ec8b3a1ecdb3ae4f";

const SECRET_KEY: &str = "task-role-secret-key";

/// A request as it arrived.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

/// Answers credentials, the step by a list (each answer once, the last one for ever) with a key to
/// its own bucket unless the step says otherwise, and the step's end. Takes objects.
struct Stub {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Stub {
    fn new(answers: Vec<(u16, Value)>) -> Self {
        Self::ending(answers, 204)
    }

    /// Answers the step's end with this status.
    fn ending(mut answers: Vec<(u16, Value)>, end: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&seen);
        for (_, answer) in &mut answers {
            if answer.get("command").is_some() && answer.get("outputs").is_none() {
                answer["outputs"] = outputs(&address);
            }
        }
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read(&stream);
                let (status, body) = if request.line.starts_with("GET /v2/credentials") {
                    (
                        200,
                        json!({"AccessKeyId": "AKIDTASK", "SecretAccessKey": SECRET_KEY, "Token": "session-token", "Expiration": "2030-01-01T00:00:00Z"}),
                    )
                } else if request.line.starts_with("POST /v1/sandbox/end") {
                    (end, json!({"code": "stale_fence"}))
                } else if request.line.starts_with("PUT /") {
                    let mut before = note.lock().unwrap().clone().into_iter();
                    let again = before.any(|before: Seen| before.line == request.line);
                    (if again { 412 } else { 200 }, json!({}))
                } else if answers.len() > 1 {
                    answers.remove(0)
                } else {
                    answers[0].clone()
                };
                note.lock().unwrap().push(request);
                let body = match status {
                    204 => String::new(),
                    _ => body.to_string(),
                };
                let head = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all((head + &body).as_bytes()).unwrap();
            }
        });
        Self { address, seen }
    }

    fn requests(&self, line: &str) -> Vec<Seen> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .filter(|request| request.line.starts_with(line))
            .cloned()
            .collect()
    }

    /// How often the step was asked for.
    fn posts(&self) -> Vec<Seen> {
        self.requests("POST /v1/sandbox/step")
    }

    /// What was told of the end: once.
    fn told(&self) -> Value {
        let told = self.requests("POST /v1/sandbox/end");
        assert_eq!(told.len(), 1, "{told:?}");
        serde_json::from_str(&told[0].body).unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealfleet-init"));
        command
            .arg("fargate")
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.envs([
            ("SEALFLEET_API_URL", format!("http://{}", self.address)),
            ("SEALFLEET_PROJECT", "healthcare".into()),
            ("SEALFLEET_RUN", "run_1".into()),
            ("SEALFLEET_STEP", "fetch".into()),
            ("SEALFLEET_FENCE", "7".into()),
            ("SEALFLEET_REGION", "eu-central-1".into()),
            ("AWS_REGION", "eu-central-1".into()),
            (
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                format!("http://{}/v2/credentials/x", self.address),
            ),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "metadata-token".into()),
            ("PATH", "/usr/bin:/bin".into()),
            ("API_KEY", "the-value".into()),
            ("OTHER_KEY", "not for this step".into()),
        ]);
        command
    }

    fn run(&self) -> Output {
        self.command().output().unwrap()
    }
}

fn read(stream: &TcpStream) -> Seen {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let Some((name, value)) = header.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Seen {
        line: line.trim_end().to_owned(),
        headers,
        body: String::from_utf8(body).unwrap(),
    }
}

fn step(script: &str, secrets: &[&str]) -> Value {
    json!({"command": ["sh", "-c", script], "env": {"PLAIN": "knob"}, "secret_names": secrets, "timeout_seconds": 60})
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// HMAC-SHA256 (RFC 2104) for keys of up to 64 bytes.
fn hmac(key: &[u8], message: &str) -> Vec<u8> {
    let padded = |with: u8| -> Vec<u8> {
        (0..64)
            .map(|index| key.get(index).copied().unwrap_or(0) ^ with)
            .collect()
    };
    let inner = Sha256::new()
        .chain_update(padded(0x36))
        .chain_update(message)
        .finalize();
    Sha256::new()
        .chain_update(padded(0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

/// What the signature of a request says: the key's id, the scope, and the names of headers. The
/// signature is right.
fn signed(request: &Seen) -> (String, String, String) {
    let authorization = &request.headers["authorization"];
    let part = |name: &str| {
        authorization
            .split([' ', ','])
            .find_map(|part| part.strip_prefix(name))
            .unwrap()
            .to_owned()
    };
    let credential = part("Credential=");
    let (key_id, scope) = credential.split_once('/').unwrap();
    let names = part("SignedHeaders=");
    assert_eq!(part("Signature="), signature(request, &names, scope));
    (key_id.to_owned(), scope.to_owned(), names)
}

/// The signature by the document "Create a signed AWS API request" (IAM user guide), from what
/// arrived.
fn signature(request: &Seen, signed_headers: &str, scope: &str) -> String {
    let headers: String = signed_headers
        .split(';')
        .map(|name| format!("{name}:{}\n", request.headers[name]))
        .collect();
    let payload = hex(&Sha256::digest(&request.body));
    let (method, path) = request.line.split_once(' ').unwrap();
    let path = path.strip_suffix(" HTTP/1.1").unwrap();
    let canonical = format!("{method}\n{path}\n\n{headers}\n{signed_headers}\n{payload}");
    let date = &request.headers["x-amz-date"];
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{scope}\n{}",
        hex(&Sha256::digest(canonical))
    );
    let key = scope
        .split('/')
        .fold(format!("AWS4{SECRET_KEY}").into_bytes(), |key, part| {
            hmac(&key, part)
        });
    hex(&hmac(&key, &to_sign))
}

#[test]
fn the_step_is_fetched_under_the_task_role_and_run_with_the_named_secrets_only() {
    let stub = Stub::new(vec![(
        200,
        step(
            "printf %s $API_KEY | md5sum; echo $API_KEY; env | sed 's/=.*//' | sort | tr '\\n' ' '; exit 3",
            &["API_KEY"],
        ),
    )]);
    let output = stub.run();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let names = "API_KEY AWS_CONTAINER_AUTHORIZATION_TOKEN AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_REGION HOME LANG PATH PLAIN PWD PYTHONUNBUFFERED ";
    assert_eq!(
        text(&output.stdout),
        format!("{MD5_OF_VALUE}  -\n<redacted:API_KEY>\n{names}")
    );

    let seen = stub.seen.lock().unwrap().clone();
    assert_eq!(
        seen.len(),
        5,
        "credentials for each of two requests, and a chunk"
    );
    assert_eq!(seen[0].headers["authorization"], "metadata-token");
    let request = &seen[1];
    assert_eq!(request.line, "POST /v1/sandbox/step HTTP/1.1");
    assert_eq!(
        serde_json::from_str::<Value>(&request.body).unwrap(),
        json!({"project": "healthcare", "run_id": "run_1", "step_id": "fetch", "fence": 7, "delivery": "egress", "egress": true})
    );
    assert_eq!(request.headers["x-amz-security-token"], "session-token");
    let (key_id, scope, names) = signed(request);
    assert_eq!(key_id, "AKIDTASK");
    assert!(
        scope.ends_with("/eu-central-1/execute-api/aws4_request"),
        "{scope}"
    );
    for needed in ["host", "x-amz-date", "x-amz-security-token"] {
        assert!(names.split(';').any(|name| name == needed), "{names}");
    }
    let told = stub.told();
    let end = json!({
        "run_id": "run_1", "step_id": "fetch", "fence": 7, "state": "failed", "failure": {"kind": "exit", "code": 3},
        "redactions": [{"key": "API_KEY", "stream": "stdout", "encoding": "raw", "count": 1}],
        "output_missing_bytes": 0
    });
    assert_eq!(told, json!({"project": "healthcare", "report": end}));
}

/// Credentials for a bucket, as they come with a step.
fn outputs(address: &str) -> Value {
    json!({
        "endpoint": format!("http://{address}"), "region": "eu-central-1", "bucket": "outputs",
        "prefix": "healthcare/run_1/fetch/7/", "access_key_id": "ASIAOUT", "secret_access_key": SECRET_KEY,
        "session_token": "output-session", "expires_at": "2100-01-01T00:00:00Z"
    })
}

/// As in a task: with a workspace, which this machine has not.
fn in_a_task(stub: &Stub) -> Command {
    let mut inside = sandboxed(&stub.command());
    inside.args(["/init", "fargate"]);
    inside
}

/// A sandbox with the environment of `command`, for what is added.
fn sandboxed(command: &Command) -> Command {
    let init = env!("CARGO_BIN_EXE_sealfleet-init");
    let mut inside = Command::new("bwrap");
    inside
        .args(["--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc"])
        .args([
            "--symlink",
            "usr/bin",
            "/bin",
            "--symlink",
            "usr/lib",
            "/lib",
        ])
        .args(["--symlink", "usr/lib64", "/lib64"])
        .args(["--proc", "/proc", "--dev", "/dev"])
        .args(["--tmpfs", "/tmp", "--tmpfs", "/workspace"])
        .args(["--ro-bind", init, "/init"])
        .args(["--chdir", "/workspace", "--die-with-parent"])
        .env_clear()
        .stdin(Stdio::null())
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    inside
}

#[test]
fn what_comes_out_is_stored_once_redacted_and_told() {
    let script = r#"echo out $API_KEY; echo err >&2; mkdir .sealfleet; printf '["%s"]\n' "$API_KEY" > .sealfleet/result.json"#;
    let stub = Stub::new(vec![(200, step(script, &["API_KEY"]))]);
    let output = in_a_task(&stub).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "out <redacted:API_KEY>\n");

    let objects = stub.requests("PUT /");
    let lines: Vec<&str> = objects.iter().map(|object| object.line.as_str()).collect();
    let at = "PUT /outputs/healthcare/run_1/fetch/7";
    let chunk = format!("{at}/output/00000000.json HTTP/1.1");
    let result = format!("{at}/result.json HTTP/1.1");
    assert_eq!(
        lines,
        [chunk.as_str(), &result],
        "{} {}",
        stub.told(),
        text(&output.stderr)
    );
    let chunk: Value = serde_json::from_str(&objects[0].body).unwrap();
    let printed: Vec<&str> = chunk["pieces"]
        .as_array()
        .unwrap()
        .iter()
        .map(|piece| piece["text"].as_str().unwrap())
        .collect();
    let mut printed = printed
        .concat()
        .split_inclusive('\n')
        .map(str::to_owned)
        .collect::<Vec<_>>();
    printed.sort();
    assert_eq!(printed, ["err\n", "out <redacted:API_KEY>\n"]);
    assert_eq!(objects[1].body, "[\"<redacted:API_KEY>\"]\n");
    for object in &objects {
        assert_eq!(object.headers["if-none-match"], "*", "written once");
        assert_eq!(object.headers["x-amz-security-token"], "output-session");
        let (key_id, scope, names) = signed(object);
        assert_eq!(key_id, "ASIAOUT");
        assert!(scope.ends_with("/eu-central-1/s3/aws4_request"), "{scope}");
        for needed in ["host", "if-none-match", "x-amz-content-sha256"] {
            assert!(names.split(';').any(|name| name == needed), "{names}");
        }
    }
    let report = &stub.told()["report"];
    assert_eq!(report["state"], "succeeded");
    assert_eq!(report["result_bytes"], objects[1].body.len());
    assert_eq!(report["output_missing_bytes"], 0);
    let streams: Vec<&Value> = report["redactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["stream"])
        .collect();
    assert_eq!(streams, ["stdout", "result"]);
}

#[test]
fn a_key_that_has_not_come_with_the_step_is_asked_for() {
    let with = step("echo late", &[]);
    let mut without = with.clone();
    without["outputs"] = Value::Null;
    for (answers, missing) in [(vec![without.clone(), with], 0), (vec![without], 5)] {
        let stub = Stub::new(answers.into_iter().map(|answer| (200, answer)).collect());
        let output = stub.run();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(stub.posts().len(), 2);
        let stored = if missing == 0 { 1 } else { 0 };
        assert_eq!(stub.requests("PUT /").len(), stored);
        assert_eq!(stub.told()["report"]["output_missing_bytes"], missing);
    }
}

#[test]
fn a_result_that_cannot_be_taken_fails_the_step() {
    let script = "mkdir .sealfleet; echo '{' > .sealfleet/result.json; exit $CODE";
    for (code, kind) in [("0", "bad_result"), ("4", "exit")] {
        let mut step = step(script, &[]);
        step["env"] = json!({"CODE": code});
        let stub = Stub::new(vec![(200, step)]);
        let output = in_a_task(&stub).output().unwrap();
        assert_eq!(
            output.status.code().map(|code| code.to_string()).as_deref(),
            Some(code)
        );
        let told = stub.told();
        assert_eq!(told["report"]["failure"]["kind"], kind, "{told}");
        assert!(told["report"].get("result_bytes").is_none(), "{told}");
    }
}

#[test]
fn a_step_that_somebody_else_has_ended_ends_as_it_does() {
    let stub = Stub::ending(vec![(200, step("exit 3", &[]))], 409);
    let output = stub.run();
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stderr);
    assert!(
        said.contains("not taken") && said.contains("stale_fence"),
        "{said}"
    );
}

#[test]
fn a_secret_that_the_step_does_not_name_never_reaches_the_command() {
    for named in [&[][..], &["API_KEY"], &["OTHER_KEY"]] {
        let mut step = step("env; sh -c env; cat /proc/self/environ", named);
        // So that the values that it has are seen.
        step["unredacted"] = json!(named);
        let output = Stub::new(vec![(200, step)]).run();
        let seen = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{seen}");
        for (name, value) in [("API_KEY", "the-value"), ("OTHER_KEY", "not for this step")] {
            let times = if named.contains(&name) { 3 } else { 0 };
            assert_eq!(
                seen.matches(name).count(),
                times,
                "{name} of {named:?}: {seen}"
            );
            assert_eq!(
                seen.matches(value).count(),
                times,
                "{name} of {named:?}: {seen}"
            );
        }
        assert_eq!(seen.matches("PLAIN=knob").count(), 3, "{seen}");
    }
}

#[test]
fn a_secret_may_be_a_file_in_memory() {
    let script =
        "echo at $API_KEY; stat -c 'mode %a' $API_KEY; stat -f -c %T $API_KEY; cat $API_KEY; echo
                  env | grep -c the-value; printf %s \"$(cat $API_KEY)\" | md5sum";
    let mut step = step(script, &["API_KEY", "OTHER_KEY"]);
    step["in_files"] = json!(["API_KEY"]);
    let stub = Stub::new(vec![(200, step)]);
    let output = in_a_task(&stub).output().unwrap();
    let said = text(&output.stdout);
    let file = "at /dev/shm/secrets/API_KEY\nmode 400\ntmpfs\n<redacted:API_KEY>\n0\n";
    assert!(said.starts_with(file), "{said}{}", text(&output.stderr));
    assert!(said.contains(MD5_OF_VALUE), "{said}");
}

#[test]
fn a_command_with_an_egress_policy_reaches_neither_hosts_nor_the_role_of_its_task() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let script = format!(
        r#"for at in 127.0.0.1/{port} 169.254.170.2/80 127.0.0.1/3127; do
               (exec 3<>/dev/tcp/$at) 2> /dev/null && echo reached $at
           done
           (exec 3<>/dev/udp/127.0.0.1/53) 2> /dev/null && echo datagrams
           env | grep -c AWS_CONTAINER_; echo in $AWS_REGION"#
    );
    let mut step = step("", &[]);
    step["command"] = json!(["bash", "-c", script]);
    let free = Stub::new(vec![(200, step.clone())]);
    let reached = text(&in_a_task(&free).output().unwrap().stdout);
    assert!(
        reached.contains(&format!("reached 127.0.0.1/{port}\n")),
        "{reached}"
    );
    assert!(
        reached.contains("datagrams\n2\nin eu-central-1\n"),
        "{reached}"
    );

    step["egress"] = json!("none");
    let stub = Stub::new(vec![(200, step)]);
    let output = in_a_task(&stub).output().unwrap();
    let said = (text(&output.stdout), text(&output.stderr));
    assert_eq!(said.0, "0\nin eu-central-1\n", "{said:?}");
    let row = |host: &str, port: u16| json!({"host": host, "port": port, "reason": "no_rule", "count": 1});
    let rows = [
        row("127.0.0.1", 3127),
        row("127.0.0.1", port),
        row("169.254.170.2", 80),
    ];
    let told = stub.told()["report"]["egress_denied"].clone();
    assert_eq!(told, json!({"rows": rows}));
}

/// What the proxy of a task answers to a step that sends these messages, whether it answers a
/// second one, and how it ends once the step has gone.
fn proxied(order: &Value, begin: &Value) -> String {
    let script = r#"
        /init fargate --proxy & proxy=$!
        perl -MIO::Socket::INET -e '
            sub reach { IO::Socket::INET->new(PeerAddr => "127.0.0.1:3127") }
            my $step;
            until ($step = reach()) { select undef, undef, undef, 0.05 }
            for my $message (@ARGV) {
                my $frame = "{\"version\":$ENV{VERSION},\"descriptors\":[],\"message\":$message}";
                print $step pack("N", length $frame), $frame;
            }
            $step->flush;
            read $step, my $length, 4;
            read $step, my $answer, unpack("N", $length);
            print "$answer\n", reach() ? "another\n" : "nobody\n";
        ' "$ORDER" "$BEGIN"
        wait $proxy; echo ended $?"#;
    let mut command = Stub::new(vec![(200, json!({}))]).command();
    command.envs([
        ("ORDER", json!({ "order": order }).to_string()),
        ("BEGIN", json!({ "begin": begin }).to_string()),
        ("VERSION", sealfleet_channel::VERSION.to_string()),
    ]);
    let mut inside = sandboxed(&command);
    inside.args(["--unshare-net", "bash", "-c", script]);
    let output = inside.output().unwrap();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn a_proxy_takes_one_step_and_ends_with_it() {
    let order = |key: &str| {
        let to = json!([{"host": "a.example"}]);
        json!({"policy": {"allow": [{"host": "a.example"}]}, "secrets": {key: {"to": to}}})
    };
    let placeholder = format!("sealfleet-placeholder-{}", "0".repeat(32));
    let said = proxied(&order("API_KEY"), &json!({"API_KEY": placeholder}));
    assert!(said.contains("BEGIN CERTIFICATE"), "{said}");
    assert!(said.ends_with("\nnobody\nended 0\n"), "{said}");
    // What it has no value of, or no placeholder, is told to the step.
    for (key, begin, why) in [
        (
            "MISSING",
            json!({"MISSING": placeholder}),
            "`MISSING` is not in",
        ),
        ("API_KEY", json!({}), "placeholders"),
    ] {
        let said = proxied(&order(key), &begin);
        assert!(said.contains("refused") && said.contains(why), "{said}");
        assert!(
            said.contains("ended 125") && !said.contains("the-value"),
            "{said}"
        );
    }
}

#[test]
fn a_value_that_cannot_be_redacted_starts_nothing() {
    let stub = Stub::new(vec![(200, step("echo ran", &["API_KEY"]))]);
    let output = stub.command().env("API_KEY", "12345").output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(text(&output.stdout), "");
    let said = text(&output.stderr);
    let told = stub.told()["report"]["failure"].clone();
    assert_eq!(told["kind"], "secret_unavailable");
    for said in [said.as_str(), told["detail"].as_str().unwrap()] {
        for part in ["`API_KEY`", "8 bytes", "?redact=false"] {
            assert!(said.contains(part) && !said.contains("12345"), "{said}");
        }
    }
}

#[test]
fn an_answer_that_may_change_is_asked_for_again() {
    let problem = json!({"code": "not_ready"});
    let stub = Stub::new(vec![
        (409, problem.clone()),
        (503, problem),
        (200, step("echo ran", &[])),
    ]);
    let output = stub.run();
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str()),
        (Some(0), "ran\n"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(stub.posts().len(), 3);
}

#[test]
fn a_refusal_ends_at_once() {
    let stub = Stub::new(vec![(
        403,
        json!({"code": "forbidden", "detail": "the-value"}),
    )]);
    let output = stub.run();
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(
        text(&output.stderr),
        "sealfleet-init: the step was refused with HTTP status 403 (forbidden)\n"
    );
    assert_eq!(stub.posts().len(), 1);
}

#[test]
fn what_is_missing_is_named() {
    let stub = Stub::new(vec![(200, step("echo ran", &["API_KEY", "ABSENT"]))]);
    let output = stub.run();
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str()),
        (Some(125), "")
    );
    assert!(
        text(&output.stderr).contains("the secret `ABSENT`"),
        "{}",
        text(&output.stderr)
    );
    for name in [
        "SEALFLEET_API_URL",
        "SEALFLEET_RUN",
        "SEALFLEET_FENCE",
        "SEALFLEET_REGION",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    ] {
        let output = stub.command().env_remove(name).output().unwrap();
        assert_eq!(output.status.code(), Some(125));
        assert!(
            text(&output.stderr).contains(&format!("`{name}`")),
            "{}",
            text(&output.stderr)
        );
    }
    assert_eq!(stub.posts().len(), 1, "one of them came so far");
}

#[test]
fn a_step_whose_time_is_up_is_asked_to_end_first() {
    let mut polite = step(
        "trap 'echo asked; exit 0' TERM; echo ready; sleep 60 & wait",
        &[],
    );
    polite["timeout_seconds"] = 1.into();
    let start = Instant::now();
    let output = Stub::new(vec![(200, polite)]).run();
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str()),
        (Some(124), "ready\nasked\n")
    );
    assert!(start.elapsed() < Duration::from_secs(5));

    let mut deaf = step("trap '' TERM; sleep 60", &[]);
    deaf["timeout_seconds"] = 1.into();
    let start = Instant::now();
    assert_eq!(Stub::new(vec![(200, deaf)]).run().status.code(), Some(124));
    let took = start.elapsed();
    assert!(
        took > Duration::from_secs(5) && took < Duration::from_secs(15),
        "{took:?}"
    );
}

/// Whether a process runs that has this argument.
fn runs(argument: &str) -> bool {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let mut lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| {
        line.split(|byte| *byte == 0)
            .any(|part| part == argument.as_bytes())
    })
}

#[test]
fn nothing_of_a_step_outlives_it_even_if_init_is_not_the_first_process() {
    let marker = |end: u32| format!("{end}7{}", std::process::id());
    // Leaves its session and its parent, and does not hear SIGTERM.
    let start = |marker: &str, then: &str, seconds: u32| {
        let escape = format!("(setsid sh -c \"trap '' TERM; echo ready; sleep {marker}; :\" &)");
        let mut step = step(&format!("{escape}; sleep 0.5; {then}"), &[]);
        step["timeout_seconds"] = seconds.into();
        let stub = Stub::new(vec![(200, step)]);
        stub.command().spawn().unwrap()
    };
    for (end, then, seconds, code) in [
        (1, "exit 3", 60, 3),
        (2, "sleep 60", 1, 124),
        (3, "sleep 60", 60, 143),
    ] {
        let marker = marker(end);
        let mut child = start(&marker, then, seconds);
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n");
        if end == 3 {
            // It says that it is ready before it starts `sleep`.
            let began = Instant::now();
            while !runs(&marker) {
                assert!(began.elapsed() < Duration::from_secs(10), "it never ran");
                std::thread::sleep(Duration::from_millis(5));
            }
            terminate(&child);
        }
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(!runs(&marker), "{then}");
    }
}

fn terminate(child: &Child) {
    let pid = rustix::process::Pid::from_raw(child.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

#[test]
fn a_stopped_task_passes_the_signal_on() {
    let stub = Stub::new(vec![(
        200,
        step("trap 'exit 9' TERM; echo ready; sleep 60 & wait", &[]),
    )]);
    let mut child = stub.command().spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(9));

    // While the step is still asked for.
    let stub = Stub::new(vec![(409, json!({"code": "not_ready"}))]);
    let mut child = stub.command().spawn().unwrap();
    let start = Instant::now();
    while stub.posts().is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(10));
    }
    terminate(&child);
    assert_eq!(child.wait().unwrap().code(), Some(143));
}
