//! What the client sends, repeats and reads, against a server of a few lines.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sealfleet_api::operations;
use sealfleet_client::types::{
    ApprovalsOf, EnqueueRun, Heartbeat, PreviewContainment, PreviewRevocation, ProfileContent,
    ResolveCascade, Revoke, RunWorkflow, SignedUrl,
};
use sealfleet_client::{
    AuditQuery, Client, Code, Credential, Error, PageQuery, RevocationState, UsageQuery, all_pages,
};
use sealfleet_domain::hash::ContentHash;
use sealfleet_domain::output::Stream;
use sealfleet_domain::run::RunState;
use sealfleet_domain::{ProfileName, ProjectId, RunId, StepId, WorkerId};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const CANARY: &str = "sft.healthcare.canary-credential";

/// Answers each connection's request with the next of `answers`, and keeps what was sent.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn new(answers: Vec<(u16, String)>) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), answers).await
    }

    async fn at(address: SocketAddr, answers: Vec<(u16, String)>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        tokio::spawn(async move {
            for (status, body) in answers {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 65536];
                let read = connection.read(&mut request).await.unwrap();
                request.truncate(read);
                noted
                    .lock()
                    .unwrap()
                    .push(String::from_utf8(request).unwrap());
                if status == 0 {
                    continue;
                }
                let head = format!(
                    "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                connection.write_all(head.as_bytes()).await.unwrap();
                connection.write_all(body.as_bytes()).await.unwrap();
                connection.shutdown().await.unwrap();
            }
        });
        Self { url, seen }
    }

    fn client(&self) -> Client {
        Client::new(&self.url, Some(Credential::new(CANARY)))
            .unwrap()
            .with_timeout(Duration::from_secs(5))
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn page() -> (u16, String) {
    (200, json!({"items": []}).to_string())
}

fn problem(status: u16, code: &str) -> (u16, String) {
    let body = json!({"type": "t", "title": "t", "status": status, "detail": "d", "code": code});
    (status, body.to_string())
}

fn run() -> EnqueueRun {
    serde_json::from_value(json!({"workflow": "w", "steps": []})).unwrap()
}

#[tokio::test]
async fn a_read_is_repeated_after_lost_answers_and_failures() {
    let server = Server::new(vec![(0, String::new()), (503, "busy".to_owned()), page()]).await;
    let query = PageQuery {
        cursor: Some("a b&c".to_owned()),
        limit: Some(7),
    };
    let runs = server
        .client()
        .list_runs(Some(RunState::Running), &query)
        .await
        .unwrap();
    assert!(runs.items.is_empty());
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    assert!(
        seen.iter().all(
            |request| request.starts_with("GET /v1/runs?cursor=a+b%26c&limit=7&state=running ")
        ),
        "{seen:?}"
    );
    assert!(
        seen.iter()
            .all(|request| request.contains(&format!("Bearer {CANARY}")))
    );
}

#[tokio::test]
async fn a_list_is_read_to_its_last_page() {
    let of = |project: &str, more: serde_json::Value| {
        (
            200,
            json!({"items": [{"project": project}], "next_cursor": more}).to_string(),
        )
    };
    let server = Server::new(vec![of("alpha", json!("n1")), of("beta", json!(null))]).await;
    let client = server.client();
    let projects = all_pages(async |page| client.list_projects(page).await)
        .await
        .unwrap();
    let names: Vec<&str> = projects
        .iter()
        .map(|found| found.project.as_str())
        .collect();
    assert_eq!(names, ["alpha", "beta"]);
    let lines: Vec<String> = server
        .seen()
        .iter()
        .map(|request| request.lines().next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        lines,
        [
            "GET /v1/projects?limit=100 HTTP/1.1",
            "GET /v1/projects?cursor=n1&limit=100 HTTP/1.1"
        ]
    );
}

#[tokio::test]
async fn a_change_is_repeated_only_with_an_idempotency_key() {
    let server = Server::new(vec![(500, String::new()), page()]).await;
    let error = server
        .client()
        .enqueue_run(&run(), None)
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, Error::Unreadable { status: 500, .. }),
        "{error}"
    );
    assert_eq!(server.seen().len(), 1);

    // No answer; too many; and those of a function that failed, was killed, is busy or was too
    // slow.
    for passing in [0, 429, 500, 502, 503, 504] {
        let server = Server::new(vec![
            (passing, String::new()),
            problem(422, "idempotency_mismatch"),
        ])
        .await;
        let error = server
            .client()
            .enqueue_run(&run(), Some("key-1"))
            .await
            .err()
            .unwrap();
        assert_eq!(
            error.problem().map(|problem| problem.code),
            Some(Code::IdempotencyMismatch)
        );
        let seen = server.seen();
        assert_eq!(seen.len(), 2, "after {passing}");
        assert!(
            seen.iter()
                .all(|request| request.contains("idempotency-key: key-1\r\n")),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn heartbeats_are_repeated_unless_retries_are_off() {
    let answer = (200, json!({"status": "approved", "leases": []}).to_string());
    let server = Server::new(vec![(502, String::new()), answer]).await;
    server
        .client()
        .send_heartbeat(&Heartbeat::default())
        .await
        .unwrap();
    let server = Server::new(vec![(502, String::new())]).await;
    assert!(
        server
            .client()
            .without_retries()
            .send_heartbeat(&Heartbeat::default())
            .await
            .is_err()
    );
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn a_change_of_a_profile_names_the_version_it_replaces_and_is_sent_once() {
    let profile = json!({
        "name": "crm", "version": 4, "env": {"REGION": "eu"}, "secrets": {"KEY": "builtin://crm@v1"},
        "created_at": "2026-01-31T08:00:00Z", "updated_at": "2026-01-31T08:00:00Z"
    });
    let conflict = (412, "changed".to_owned());
    let answers = vec![
        (200, profile.to_string()),
        conflict,
        (503, String::new()),
        (204, String::new()),
    ];
    let server = Server::new(answers).await;
    let (client, name) = (server.client(), "crm".parse().unwrap());
    let put = client
        .put_profile(&name, &ProfileContent::default(), 3)
        .await
        .unwrap();
    assert_eq!(
        (put.version, put.content.secrets["KEY"].to_string().as_str()),
        (4, "builtin://crm@v1")
    );
    let error = client
        .put_profile(&name, &ProfileContent::default(), 3)
        .await
        .err()
        .unwrap();
    assert_eq!(error.status(), Some(412));
    assert!(
        client
            .put_profile(&name, &ProfileContent::default(), 3)
            .await
            .is_err()
    );
    client.delete_profile(&name, None).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 4, "a lost answer is not sent again: {seen:?}");
    for request in &seen[..3] {
        assert!(
            request.starts_with("PUT /v1/profiles/crm ") && request.contains("if-match: \"3\"\r\n"),
            "{request}"
        );
    }
    assert!(
        seen[3].starts_with("DELETE /v1/profiles/crm ") && !seen[3].contains("if-match"),
        "{}",
        seen[3]
    );
}

#[tokio::test]
async fn questions_are_repeated_and_revocations_are_not() {
    let busy = || (503, String::new());
    let affected = (200, json!({"runs": [], "more": false}).to_string());
    let resolved = (
        200,
        json!({"profiles": [], "keys": [], "removed": {}}).to_string(),
    );
    let server = Server::new(vec![busy(), affected, busy(), resolved, busy(), page()]).await;
    let client = server.client();
    let revoke: Revoke = serde_json::from_value(
        json!({"keys": [{"profile": "system/base", "key": "K"}], "reason": "leaked"}),
    )
    .unwrap();
    let question: ResolveCascade = serde_json::from_value(json!({"workflow": "w"})).unwrap();
    let preview = PreviewRevocation {
        keys: revoke.keys.clone(),
        ..PreviewRevocation::default()
    };
    client.preview_revocation(&preview).await.unwrap();
    client.resolve_cascade(&question).await.unwrap();
    assert!(client.create_revocations(&revoke).await.is_err());
    client
        .list_revocations(RevocationState::Lifted, &PageQuery::default())
        .await
        .unwrap();
    let lines: Vec<String> = server
        .seen()
        .iter()
        .map(|request| request.lines().next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        lines,
        [
            "POST /v1/revocations:preview HTTP/1.1",
            "POST /v1/revocations:preview HTTP/1.1",
            "POST /v1/cascade/resolve HTTP/1.1",
            "POST /v1/cascade/resolve HTTP/1.1",
            "POST /v1/revocations HTTP/1.1",
            "GET /v1/revocations?state=lifted HTTP/1.1",
        ]
    );
}

/// A value whose text is `text`.
fn of<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_value(json!(text)).unwrap()
}

/// A request of the JSON that is its least.
fn least<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn each_operation_has_a_method_that_sends_what_the_table_says() {
    let many = operations::all().count();
    let server = Server::new(vec![problem(404, "not_found"); many]).await;
    let client = &server.client().without_retries();
    let page = &PageQuery {
        cursor: Some("c".to_owned()),
        limit: Some(1),
    };
    let id = |prefix: &str| format!("{prefix}_0198c0de-0000-7000-8000-00000000000a");
    let (run, worker): (RunId, WorkerId) = (of(&id("run")), of(&id("wrk")));
    let (project, name, step): (ProjectId, ProfileName, StepId) =
        (of("healthcare"), of("crm"), of("main"));
    let lease = json!({"project": project, "run_id": run, "step_id": step, "fence": 1});
    let report = json!({"run_id": run, "step_id": step, "fence": 1, "state": "succeeded"});
    let end = json!({"project": project, "report": report});
    let audit = AuditQuery {
        run_id: Some(run),
        from: Some(of("2026-01-31T08:00:00Z")),
        page: page.clone(),
        ..AuditQuery::default()
    };
    let revoke: Revoke = least(json!({"keys": [], "reason": "r"}));
    let mut refused = 0;
    macro_rules! send {
        ($($call:expr;)*) => {
            $(assert!($call.await.is_err()); refused += 1;)*
        };
    }
    send! {
        client.create_project(&least(json!({"project": project, "pools": {}})));
        client.list_projects(page);
        client.get_activity();
        client.get_project(&project);
        client.update_project(&project, &least(json!({"pools": {}})), 1);
        client.delete_project(&project, true);
        client.set_limits(&project, None);
        client.set_egress_ceiling(&project, None);
        client.create_token(&least(json!({"role": "admin"})));
        client.list_tokens(Some(&project), page);
        client.revoke_token(Some(&project), of(&id("tok")));
        client.get_whoami();
        client.create_enrolment_key(&least(json!({"pool": "gpu"})));
        client.list_enrolment_keys(page);
        client.revoke_enrolment_key(of(&id("enk")));
        client.register_worker(&least(json!({"project": project, "name": "n", "pool": "gpu", "modes": []})));
        client.list_workers(page);
        client.get_worker(worker);
        client.approve_worker(worker);
        client.reject_worker(worker);
        client.revoke_worker(worker);
        client.drain_worker(worker);
        client.resume_worker(worker);
        client.register_workflow(&least(json!({"name": "w", "definition": {"steps": []}})));
        client.list_workflows(page);
        client.get_workflow(&of("w"));
        client.list_workflow_versions(&of("w"), page);
        client.retire_workflow(&of("w"));
        client.run_workflow(&of("w"), &RunWorkflow::default(), Some("key"));
        client.list_approvals(ApprovalsOf::Decided, page);
        client.get_approval(&of("workflow:w@1"));
        client.decide_approval(&of("workflow:w@1"), &least(json!({"decision": "deny"})));
        client.get_governance();
        client.put_governance(&least(json!({})));
        client.create_profile(&least(json!({"name": name})));
        client.list_profiles(page);
        client.get_profile(&name);
        client.put_profile(&name, &ProfileContent::default(), 1);
        client.delete_profile(&name, None);
        client.list_profile_versions(&name, page);
        client.get_cascade();
        client.put_cascade(&least(json!({})));
        client.resolve_cascade(&least(json!({"workflow": "w"})));
        client.create_revocations(&revoke);
        client.preview_revocation(&PreviewRevocation::default());
        client.list_revocations(RevocationState::Lifted, page);
        client.get_revocation(of(&id("rev")));
        client.lift_revocation(of(&id("rev")));
        client.create_containment(&least(json!({"reason": "r"})), Some("key"));
        client.preview_containment(&PreviewContainment::default());
        client.list_containments(page);
        client.get_containment(of(&id("con")));
        client.get_fan_out(of(&id("fan")));
        client.enqueue_run(&self::run(), Some("key"));
        client.list_runs(Some(RunState::Queued), page);
        client.get_usage(&UsageQuery::default());
        client.get_prices();
        client.get_run(run);
        client.get_output(run, &step, Some(Stream::Stderr), Some("abc"));
        client.get_result(run, &step);
        client.get_artifacts(run, &step, None);
        client.create_upload(&least(json!({"bytes": 1, "sha256": ContentHash::of(b"x")})));
        client.cancel_run(run);
        client.retry_step(run, &step);
        client.list_audit_entries(&audit);
        client.get_audit_entry(of(&id("evt")), None);
        client.get_openapi();
        client.claim_step(&least(json!({"run_id": run, "step_id": step})));
        client.send_heartbeat(&Heartbeat::default());
        client.get_queue_credentials();
        client.get_output_credentials(&least(json!({"run_id": run, "step_id": step, "fence": 1})));
        client.get_step_inputs(&least(json!({"run_id": run, "step_id": step, "fence": 1})));
        client.get_identity_token(&least(json!({"run_id": run, "step_id": step, "fence": 1, "audience": "vault"})));
        client.get_discovery();
        client.get_keys();
        client.start_step(&least(json!({"run_id": run, "step_id": step, "fence": 1, "sandbox": "s"})));
        client.report_step(&least(json!({"run_id": run, "step_id": step, "fence": 1, "state": "succeeded"})));
        client.get_sandbox_step(&least(lease));
        client.send_sandbox_heartbeat(&least(json!({"project": project, "run_id": run, "step_id": step, "fence": 1})));
        client.end_sandbox(&least(end));
        client.get_sandbox_token(&least(json!({"project": project, "run_id": run, "step_id": step, "fence": 1, "audience": "vault"})));
    }
    assert_eq!(
        refused, many,
        "an operation without a method, or a method without an operation"
    );
    let mut sent = BTreeSet::new();
    for request in server.seen() {
        let (method, rest) = request.split_once(' ').unwrap();
        let (target, _) = rest.split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let found = operations::find(method, &operations::parts(path).collect::<Vec<_>>());
        let Some(operation) = found else {
            panic!("`{method} {path}` is not an operation")
        };
        sent.insert(operation.id);
        for (name, _) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            assert!(
                operation.query.iter().any(|query| query.name == name),
                "{}: `{name}`",
                operation.id
            );
        }
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            operation.body.is_some(),
            !body.is_empty(),
            "{}: {body}",
            operation.id
        );
    }
    assert_eq!(
        sent,
        operations::all().map(|operation| operation.id).collect()
    );
}

#[tokio::test]
async fn no_error_and_no_debug_shows_the_credential() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new(&url, Some(Credential::new(CANARY)))
        .unwrap()
        .without_retries();
    let error = client
        .list_runs(None, &PageQuery::default())
        .await
        .err()
        .unwrap();
    assert!(
        error.is_passing() && error.to_string().contains("127.0.0.1"),
        "{error}"
    );
    for text in [
        format!("{client:?}"),
        format!("{error:?}"),
        format!("{error}"),
    ] {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn a_credential_is_not_sent_in_the_clear_over_a_network() {
    for bad in [
        "http://api.example.com",
        "ftp://localhost",
        "x",
        "https://u:p@localhost",
        "http://10.0.0.1",
        "https://h/?q",
    ] {
        let Err(error) = Client::new(bad, None) else {
            panic!("{bad}")
        };
        assert!(matches!(error, Error::Address { .. }), "{error}");
        assert!(!error.to_string().contains("u:p"));
    }
    for good in [
        "http://localhost:1",
        "http://x.execute-api.localhost:4566/",
        "http://[::1]:1",
        "https://api.example.com/v",
    ] {
        if let Err(error) = Client::new(good, None) {
            // A machine without certificates has no https.
            assert!(good.starts_with("https"), "{error}");
        }
    }
}

/// What a server gives out behind a signed URL.
async fn fetched(answer: &str, bytes: u64, sha256: Option<ContentHash>) -> (String, Vec<u8>) {
    let server = Server::new(vec![(200, answer.to_owned())]).await;
    let url = SignedUrl::new(format!("{}/object?X-Amz-Signature={SIGNATURE}", server.url));
    let mut sink = Vec::new();
    let outcome = server.client().fetch(&url, bytes, sha256, &mut sink).await;
    let seen = server.seen().concat();
    assert!(seen.starts_with("GET /object?"), "{seen}");
    assert!(!seen.contains(CANARY), "a store gets no credential");
    (
        outcome.map_or_else(|error| error.to_string(), |()| String::new()),
        sink,
    )
}

const SIGNATURE: &str = "canary-signature";

#[tokio::test]
async fn what_comes_must_be_what_was_promised() {
    let hash = ContentHash::of(b"content");
    assert_eq!(
        fetched("content", 7, Some(hash)).await,
        (String::new(), b"content".into())
    );
    assert_eq!(fetched("content", 7, None).await.0, "");
    for (answer, bytes, hash, error) in [
        (
            "Content",
            7,
            Some(hash),
            "its SHA-256 is not the one that was promised",
        ),
        (
            "content",
            6,
            Some(hash),
            "more than the 6 bytes that were promised came",
        ),
        ("content", 8, None, "7 of 8 bytes came"),
    ] {
        assert_eq!(fetched(answer, bytes, hash).await.0, error);
    }
}

#[tokio::test]
async fn no_error_holds_a_signed_url() {
    let nobody = Server::new(vec![]).await;
    let client = nobody.client().without_retries();
    for url in [
        format!("{}/object?X-Amz-Signature={SIGNATURE}", nobody.url),
        format!("http://127.0.0.1:1/object?X-Amz-Signature={SIGNATURE}"),
        format!("http://s3.example/object?X-Amz-Signature={SIGNATURE}"),
    ] {
        let url = SignedUrl::new(url);
        let error = client.fetch(&url, 1, None, &mut Vec::new()).await;
        let error = error.unwrap_err();
        assert!(
            !format!("{error} {error:?} {url:?}").contains(SIGNATURE),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn an_upload_goes_once_more_and_is_there_if_something_is() {
    for last in [200, 412] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let upload_id = "upl_0198c0de-0000-7000-8000-00000000000a";
        let created = json!({
            "upload_id": upload_id, "url": format!("http://{address}/put"),
            "headers": {"if-none-match": "*", "x-amz-checksum-sha256": "c"},
            "expires_at": "2026-01-31T08:00:00.000Z", "kept_until": "2026-01-31T08:00:00.000Z",
        });
        let answers = vec![
            (201, created.to_string()),
            (503, "busy".to_owned()),
            (last, String::new()),
        ];
        let server = Server::at(address, answers).await;
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"content").unwrap();
        let gone = Arc::new(Mutex::new(0));
        let noted = Arc::clone(&gone);
        let told = move |bytes| *noted.lock().unwrap() = bytes;
        let uploaded = server.client().upload(file, told).await.unwrap();
        assert_eq!(
            (uploaded.to_string(), *gone.lock().unwrap()),
            (upload_id.to_owned(), 7)
        );
        let seen = server.seen();
        assert_eq!(seen.len(), 3);
        let promised = json!({"bytes": 7, "sha256": ContentHash::of(b"content")});
        assert!(seen[0].contains(&promised.to_string()), "{}", seen[0]);
        for put in &seen[1..] {
            assert!(put.starts_with("PUT /put HTTP/1.1\r\n"), "{put}");
            for header in [
                "if-none-match: *",
                "x-amz-checksum-sha256: c",
                "content-length: 7",
            ] {
                assert!(put.contains(header), "{put}");
            }
            assert!(!put.contains(CANARY), "a store gets no credential");
        }
    }
}
