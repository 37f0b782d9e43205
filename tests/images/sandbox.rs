//! Steps in the image of sandboxes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::Output;

use serde_json::{Value, json};

use crate::engine::{build, definition, docker, image, options, run, said, text};

/// What a step finds out: each line is a fact.
const LOOK: &str = r#"
echo "user $(id -u) $(id -g) $(whoami)"
echo "in $PWD, home $HOME"
sed -n 's/^\(CapEff\|CapBnd\|CapAmb\|NoNewPrivs\|Seccomp\):\t/\1 /p' /proc/self/status
for directory in /tmp /workspace; do
  echo hello >"$directory/file" && cat "$directory/file" || echo "cannot write to $directory"
done
for directory in / /etc /home /opt /root /run /srv /usr /usr/local/bin /var /var/tmp /proc /sys; do
  ( : >"$directory/file" ) 2>/dev/null && echo "wrote to $directory"
done
find / \( -path /proc -o -path /sys -o -path /dev \) -prune -o \( -type d -o -type f \) -writable -print 2>/dev/null | sort | sed 's/^/can write to /'
find / -xdev -type f -perm /6000 2>/dev/null | sed 's/^/set-user-ID /'
echo "$(grep -c BEGIN /etc/ssl/certs/ca-certificates.crt) certificates" | sed 's/^[1-9][0-9][0-9] /hundreds of /'
echo aside >&2
exit 7
"#;

/// Answers the task role's credentials, and this step.
fn control_plane(script: &str) -> String {
    let step = json!({ "command": ["sh", "-c", script], "timeout_seconds": 60 }).to_string();
    let role = json!({ "AccessKeyId": "key", "SecretAccessKey": "key" }).to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first).unwrap();
            loop {
                let mut header = String::new();
                reader.read_line(&mut header).unwrap();
                match header.trim_end().to_lowercase().split_once(": ") {
                    Some(("content-length", value)) => length = value.parse().unwrap(),
                    Some(_) => {}
                    None => break,
                }
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let body = if first.starts_with("GET") {
                &role
            } else {
                &step
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all((head + body).as_bytes()).unwrap();
        }
    });
    url
}

/// Runs the step in a container of the image with these options.
pub fn step(image: &str, options: &[String], definition: &Value, script: &str) -> Output {
    let url = control_plane(script);
    let mut environment: Vec<(&str, String)> = Vec::new();
    let told = definition["containerDefinitions"][0]["environment"].as_array();
    for variable in told.unwrap() {
        let word = |key: &str| variable[key].as_str().unwrap();
        let value = match word("name") {
            "SEALFLEET_API_URL" => url.clone(),
            _ => word("value").to_owned(),
        };
        environment.push((word("name"), value));
    }
    // What `RunTask` and ECS's agent add.
    environment.extend([
        ("SEALFLEET_RUN", "run_1".to_owned()),
        ("SEALFLEET_STEP", "look".to_owned()),
        ("SEALFLEET_FENCE", "7".to_owned()),
        ("AWS_REGION", "eu-west-1".to_owned()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{url}/role")),
    ]);
    run(options, &environment, image)
}

#[test]
fn a_step_can_write_to_its_two_directories_and_nothing_else() {
    let definition = definition();
    let output = step(&image("sandbox"), &options(&definition), &definition, LOOK);
    let expected = "\
        user 65534 65534 nobody\n\
        in /workspace, home /workspace\n\
        CapBnd 0000000000000000\n\
        CapEff 0000000000000000\n\
        CapAmb 0000000000000000\n\
        NoNewPrivs 1\n\
        Seccomp 2\n\
        hello\n\
        hello\n\
        can write to /tmp\n\
        can write to /tmp/file\n\
        can write to /workspace\n\
        can write to /workspace/file\n\
        hundreds of certificates\n";
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(
        sorted(&text(&output.stdout)),
        sorted(expected),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(text(&output.stderr), "aside\n");
}

/// What the step before looks for is found where it is.
#[test]
fn a_step_of_another_container_sees_the_difference() {
    let definition = definition();
    let without = |part: &str| -> Vec<String> {
        let options = options(&definition).into_iter();
        options.filter(|option| !option.starts_with(part)).collect()
    };
    // An engine makes volumes of what an image declares, even if it is not told to.
    let undeclared = build(
        "undeclared",
        &format!(
            "FROM sealfleet/base:local\n\
             COPY --from={} /usr/local/bin/sealfleet-init /usr/bin/\n\
             RUN install -d -o 65534 -g 65534 /workspace\n\
             ENTRYPOINT [\"/usr/bin/sealfleet-init\", \"fargate\"]\n",
            image("sandbox")
        ),
    );
    for (missing, seen) in [
        ("--volume=/workspace", "cannot write to /workspace"),
        ("--volume=/tmp", "cannot write to /tmp"),
        ("--read-only", "can write to /var/tmp"),
        ("--cap-drop", "CapBnd 00000000a80425fb"),
    ] {
        let output = step(&undeclared, &without(missing), &definition, LOOK);
        let facts = text(&output.stdout);
        assert!(facts.contains(seen), "without {missing}: {facts}");
    }
    let mut as_root = without("--user");
    as_root.push("--user=0".to_owned());
    let facts = text(&step(&undeclared, &as_root, &definition, LOOK).stdout);
    assert!(facts.contains("user 0 0 root"), "{facts}");
    // The image of Debian has such programs, and nothing but init keeps them from their rights.
    assert!(facts.contains("set-user-ID /usr/bin/su"), "{facts}");
    let mut without_init = docker();
    without_init
        .args(["run", "--rm", "--pull=never", "--network=none"])
        .args(options(&definition))
        .args(["--entrypoint=/bin/grep", &undeclared])
        .args(["NoNewPrivs", "/proc/self/status"]);
    assert_eq!(said(&mut without_init), "NoNewPrivs:\t0\n");
}

#[test]
fn a_step_that_a_signal_ends_is_told_as_shells_do() {
    let definition = definition();
    let output = step(
        &image("sandbox"),
        &options(&definition),
        &definition,
        "kill -9 $$",
    );
    assert_eq!(output.status.code(), Some(137), "{}", text(&output.stderr));
}
