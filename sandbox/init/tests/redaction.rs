//! What leaves the sandbox holds no value: the streams of the real init in a real sandbox, and as a
//! task of ECS (`fargate.rs`).

use std::time::Duration;

use sealfleet_bubblewrap::Exit;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::worker::{VALUE, Worker, step};

/// Prints a secret as it is, in base64 of a longer text, and in hexadecimal digits to the other
/// stream.
const PRINTS: &str = r#"echo "it is $API_KEY."; printf "user:$API_KEY\n" | base64 -w 0; echo; printf %s "$API_KEY" | od -An -v -tx1 | tr -d ' \n' >&2"#;

#[tokio::test]
async fn what_the_command_prints_leaves_without_its_secrets() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let mut started = worker.start(&step(PRINTS)).await;
    started.go().await;
    let ended = started.receive().await;
    assert_eq!(
        ended,
        json!({"ended": {"end": {"exited": {"code": 0}}, "redactions": [
            {"key": "API_KEY", "stream": "stdout", "encoding": "raw", "count": 1},
            {"key": "API_KEY", "stream": "stdout", "encoding": "base64", "count": 1},
            {"key": "API_KEY", "stream": "stderr", "encoding": "hex", "count": 1},
        ]}})
    );
    let (exit, out, err) = started.end().await;
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(
        out,
        "it is <redacted:API_KEY>.\ndXNlcjo<redacted:API_KEY>Cg==\n"
    );
    assert_eq!(err, "<redacted:API_KEY>");
}

#[tokio::test]
async fn a_value_in_pieces_and_by_another_process_is_found_and_order_is_kept() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let script = r#"python3 -c '
import os, sys, time
for number, letter in enumerate(os.environ["API_KEY"]):
    sys.stdout.write(letter)
    sys.stdout.flush()
    time.sleep(0.3 if number % 25 == 0 else 0)
'; echo; (echo "behind $API_KEY"); echo last"#;
    let mut started = worker.start(&step(script)).await;
    started.go().await;
    let (exit, out, err) = started.end().await;
    assert_eq!((exit, err.as_str()), (Exit::Code(0), ""));
    assert_eq!(out, "<redacted:API_KEY>\nbehind <redacted:API_KEY>\nlast\n");
}

#[tokio::test]
async fn what_is_no_beginning_of_a_value_comes_at_once() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let mut started = worker
        .start(&step("echo ready; printf 'Password: '; sleep 60"))
        .await;
    started.go().await;
    assert_eq!(started.line().await, "ready");
    let mut prompt = [0; 10];
    let stdout = started.sandbox.stdout.as_mut().unwrap();
    stdout.read_exact(&mut prompt).await.unwrap();
    assert_eq!(&prompt, b"Password: ");
}

#[tokio::test]
async fn the_end_of_the_output_comes_even_if_it_looks_like_a_value() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let beginning = &VALUE[..30];
    // The command ends first: a child in the background still writes, until it is killed.
    let script = format!(
        "(printf 'of the child '; printf {beginning}; touch /tmp/written; sleep 60) & while [ ! -e /tmp/written ]; do sleep 0.01; done"
    );
    let mut started = worker.start(&step(&script)).await;
    started.go().await;
    let (exit, out, _) = started.end().await;
    assert_eq!(exit, Exit::Code(0));
    assert_eq!(out, format!("of the child {beginning}"));
}

#[tokio::test]
async fn a_reader_that_has_gone_ends_the_command_as_a_broken_pipe_does() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let mut started = worker.start(&step("echo ready; exec yes")).await;
    started.go().await;
    assert_eq!(started.line().await, "ready");
    drop(started.sandbox.stdout.take());
    let ended = started.receive().await;
    assert_eq!(ended["ended"]["end"], json!({"signalled": {"signal": 13}}));
}

/// A reader that neither reads nor goes away does not hold up the end for ever.
#[tokio::test]
async fn a_reader_that_does_not_read_does_not_keep_the_sandbox() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let script = "head -c 1000000 /dev/zero & sleep 0.5; exit 3";
    let mut started = worker.start(&step(script)).await;
    started.go().await;
    // Nobody reads standard output, which is full.
    assert_eq!(started.sandbox.wait().await, Exit::Code(3));
}

/// The step's failure texts are redacted as well.
#[tokio::test]
async fn inits_own_words_hold_no_value() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let mut step = step("");
    step["command"] = json!([format!("/no/such/{VALUE}")]);
    let mut started = worker.start(&step).await;
    started.go().await;
    let (exit, _, err) = started.end().await;
    assert_eq!(exit, Exit::Code(127));
    assert!(
        err.contains("`/no/such/<redacted:API_KEY>` cannot be run"),
        "{err}"
    );
    // A reference that repeats the value of one that is resolved before it.
    let name = "another-value-0123456789";
    worker.put("crm/api-key", name);
    let mut step = crate::worker::step("echo ran");
    let missing = json!({"name": "OTHER", "uri": format!("builtin://{name}")});
    step["secrets"].as_array_mut().unwrap().push(missing);
    let (code, message) = worker.error_of(&step).await;
    assert_eq!(code, "unknown_secret");
    assert!(
        message.contains("`builtin://<redacted:API_KEY>`"),
        "{message}"
    );
}

#[tokio::test]
async fn a_value_that_cannot_be_redacted_starts_nothing_unless_the_profile_says_so() {
    let worker = Worker::new().await;
    let with = |redact: Value| {
        let mut step = step("echo pin=$API_KEY");
        step["secrets"][0]["redact"] = redact;
        step
    };
    for value in ["12345", "1234567"] {
        worker.put("crm/api-key", value);
        let (code, message) = worker.error_of(&with(true.into())).await;
        assert_eq!(code, "unredactable_value");
        for part in [
            "`API_KEY`",
            "`builtin://crm/api-key`",
            "8 bytes",
            "?redact=false",
        ] {
            assert!(
                message.contains(part) && !message.contains(value),
                "{message}"
            );
        }
        let mut started = worker.start(&with(false.into())).await;
        started.go().await;
        let (exit, out, _) = started.end().await;
        assert_eq!((exit, out), (Exit::Code(0), format!("pin={value}\n")));
    }
    worker.put("crm/api-key", &"x".repeat(40_000));
    let (code, message) = worker.error_of(&with(true.into())).await;
    assert_eq!(code, "unredactable_value");
    assert!(message.contains("larger than 32768 bytes"), "{message}");
}

/// 1 GB through the real init: its memory stays what it was.
#[tokio::test]
async fn a_gigabyte_passes_in_flat_memory() {
    if !rustix::process::geteuid().is_root() {
        return eprintln!("skipped: only root can look at the memory of init");
    }
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let script = r#"echo ready; yes "a line of output that holds nothing of interest" | head -c 1073741824; echo; echo "$API_KEY"; echo end >&2; sleep 60"#;
    let mut started = worker.start(&step(script)).await;
    started.go().await;
    assert_eq!(started.line().await, "ready");
    let mut stdout = started.sandbox.stdout.take().unwrap();
    let (mut piece, mut read) = (vec![0; 1 << 20], 0_u64);
    let mut last = Vec::new();
    while !last.ends_with(b"<redacted:API_KEY>\n") {
        let count = stdout.read(&mut piece).await.unwrap();
        assert!(count > 0, "it ended after {read} bytes");
        read += count as u64;
        last.extend_from_slice(&piece[..count]);
        last.drain(..last.len().saturating_sub(100));
    }
    assert!(read > 1 << 30, "{read}");
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", started.sandbox.pid())).unwrap();
    let peak = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak < 64 * 1024, "init had {peak} KiB");
    assert_eq!(started.sandbox.stop(Duration::ZERO).await, Exit::Signal(9));
}
