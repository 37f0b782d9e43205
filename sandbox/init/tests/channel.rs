//! A channel that is not as it should be ends the sandbox before its command.

use sealfleet_bubblewrap::Exit;
use serde_json::json;

use crate::worker::{VALUE, Worker, end, frame, receive, send, step};

#[tokio::test]
async fn another_version_is_refused_by_name() {
    let worker = Worker::new().await;
    let (sandbox, channel) = worker.launch().await;
    send(
        &channel,
        &frame(4, &[], &json!({"step": step("echo ran")})),
        &[],
    );
    let error = receive(&channel).await["error"].clone();
    assert_eq!(error["code"], "bad_step");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("version 4 of the channel, this side version 3"),
        "{message}"
    );
    let (exit, out, _) = end(sandbox).await;
    assert_eq!((exit, out.as_str()), (Exit::Code(125), ""));
}

#[tokio::test]
async fn what_is_not_a_step_runs_nothing() {
    let worker = Worker::new().await;
    let cases = [
        frame(3, &[], &json!("go")),
        frame(3, &[], &json!({"step": {}})),
        frame(3, &["builtin.store"], &json!({"step": step("echo ran")})),
        // More than the largest message.
        u32::MAX.to_be_bytes().to_vec(),
        [&2_u32.to_be_bytes(), b"{x".as_slice()].concat(),
    ];
    for bytes in cases {
        let (sandbox, channel) = worker.launch().await;
        send(&channel, &bytes, &[]);
        let error = receive(&channel).await["error"].clone();
        assert_eq!(error["code"], "bad_step", "{bytes:?}");
        let (exit, out, _) = end(sandbox).await;
        assert_eq!((exit, out.as_str()), (Exit::Code(125), ""), "{bytes:?}");
    }
}

#[tokio::test]
async fn a_worker_that_dies_ends_the_sandbox_before_its_command() {
    let worker = Worker::new().await;
    worker.put("crm/api-key", VALUE);
    let mut plain = step("echo ran");
    plain["secrets"] = json!([]);
    let step = frame(3, &[], &json!({"step": plain}));
    let go = frame(3, &[], &json!("go"));
    let both = [step.as_slice(), &go].concat();
    // Dies after this many bytes; the whole of it runs.
    let cuts = [
        0,
        2,
        4,
        step.len() / 2,
        step.len(),
        step.len() + 4,
        both.len() - 1,
    ];
    for cut in cuts {
        let (sandbox, channel) = worker.launch().await;
        send(&channel, &both[..cut], &[]);
        drop(channel);
        let (exit, out, _) = end(sandbox).await;
        assert_eq!((exit, out.as_str()), (Exit::Code(125), ""), "{cut}");
    }
    let (sandbox, channel) = worker.launch().await;
    send(&channel, &both, &[]);
    let (exit, out, _) = end(sandbox).await;
    assert_eq!((exit, out.as_str()), (Exit::Code(0), "ran\n"));
}
