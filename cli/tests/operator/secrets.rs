//! `secret put`: values go to their store and nowhere else, and versions into profiles.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::identity::{REFERENCE, UUID, ask, parts, problem, profile};
use super::{api, sealfleet, sealfleet_in, texts, token_file};

fn known() -> (u16, Value) {
    let project = json!({
        "project": "healthcare", "pools": {}, "created_at": "2026-01-31T08:00:00.000Z",
        "limits": { "requests_per_second": 1, "burst": 1, "own": false },
    });
    (200, project)
}

/// Who asks: an admin of this project, or an operator.
fn whoami(project: Option<&str>) -> (u16, Value) {
    let mut view = json!({ "actor": "token:b", "role": "admin", "may": [] });
    if let Some(project) = project {
        view["project"] = json!(project);
    }
    (200, view)
}

/// `secret put` against an API and a Secrets Manager with these answers.
fn put(
    answers: Vec<(u16, Value)>,
    arguments: &[&str],
    input: &str,
) -> (Option<i32>, String, Receiver<String>, Receiver<String>) {
    let (url, seen) = api(answers);
    let (aws, written) = api(vec![(
        200,
        json!({"ARN": "a", "Name": "n", "VersionId": UUID}),
    )]);
    let place = tempfile::tempdir().unwrap();
    let file = token_file(place.path());
    let connection = ["--api-url", &url, "--token-file", file.to_str().unwrap()];
    let environment = [
        ("AWS_ENDPOINT_URL", aws.as_str()),
        ("AWS_ACCESS_KEY_ID", "k"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let all = [&["secret", "put"], arguments, &connection].concat();
    let (code, out, err) = texts(&sealfleet_in(&environment, &all, input));
    assert!(
        !out.contains("canary") && !err.contains("canary"),
        "{out}{err}"
    );
    (code, out + &err, seen, written)
}

#[test]
fn a_written_secret_is_pinned_in_its_profile_above_what_others_changed() {
    let secrets = |env: &str| json!({"env": {"A": env}, "secrets": {"KEY": REFERENCE}});
    let answers = vec![
        known(),
        (200, profile("crm", 3, secrets("1"))),
        whoami(Some("healthcare")),
        problem(412, "version_conflict"),
        (200, profile("crm", 4, secrets("2"))),
        (200, profile("crm", 5, secrets("2"))),
    ];
    let arguments = [
        "crm",
        "api-key",
        "--project",
        "healthcare",
        "--profile",
        "crm",
        "--key",
        "KEY",
    ];
    let (code, text, seen, written) = put(
        answers,
        &[arguments.as_slice(), &["--strip-newline"]].concat(),
        "canary-value\n",
    );
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("crm is now version 5") && text.contains(UUID),
        "{text}"
    );
    assert!(
        written
            .recv()
            .unwrap()
            .contains(r#"{\"api-key\":\"canary-value\"}"#)
    );
    let puts: Vec<String> = seen
        .iter()
        .filter(|request| request.starts_with("PUT "))
        .collect();
    assert_eq!(puts.len(), 2);
    assert!(
        puts[0].contains("if-match: \"3\"") && puts[1].contains("if-match: \"4\""),
        "{puts:?}"
    );
    let pinned = json!({"env": {"A": "2"}, "secrets": {"KEY": format!("{REFERENCE}@{UUID}")}});
    assert!(puts[1].ends_with(&pinned.to_string()), "{}", puts[1]);
}

#[test]
fn a_secret_of_no_project_is_not_written() {
    let (url, _seen) = api(vec![problem(404, "not_found")]);
    let place = tempfile::tempdir().unwrap();
    let file = token_file(place.path());
    let (code, out, err) = texts(&sealfleet(
        &[
            "secret",
            "put",
            "crm",
            "api-key",
            "--project",
            "helthcare",
            "--api-url",
            &url,
            "--token-file",
            file.to_str().unwrap(),
        ],
        "canary-value",
    ));
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("`helthcare`") && !(out + &err).contains("canary"));
}

#[test]
fn a_secret_that_cannot_be_pinned_is_told() {
    let arguments = [
        "crm",
        "api-key",
        "--system",
        "--profile",
        "base",
        "--key",
        "KEY",
    ];
    let knob = profile("base", 1, json!({"env": {"KEY": "1"}}));
    let (code, text, ..) = put(vec![(200, knob)], &arguments, "canary-value");
    assert!(
        code == Some(2) && text.contains("is not a secret"),
        "{text}"
    );

    let answers = vec![
        (200, profile("base", 1, json!({}))),
        whoami(None),
        problem(400, "invalid_request"),
    ];
    let (code, text, _, written) = put(answers, &arguments, "canary-value");
    let reference = format!("aws-sm://sealfleet/system/crm#api-key@{UUID}");
    assert!(
        code == Some(3) && text.contains("the secret is written") && text.contains(&reference),
        "{text}"
    );
    assert!(written.recv().unwrap().contains("sealfleet/system/crm"));
}

/// A `sealfleet-init` that notes what it is told, and answers that it has written `ehr-token`.
struct Init {
    place: TempDir,
}

impl Init {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let script = "#!/bin/sh\necho \"$@\" >\"$0.arguments\"\n/bin/cat >\"$0.value\"\n\
                      echo '{\"uri\":\"builtin://ehr-token\",\"version\":\"v2\"}'\n";
        let init = Self { place };
        std::fs::write(init.path(), script).unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(init.path(), executable).unwrap();
        init
    }

    fn path(&self) -> PathBuf {
        self.place.path().join("init")
    }

    /// What it was given: `arguments` or `value`. None if it was not started.
    fn noted(&self, what: &str) -> Option<String> {
        std::fs::read_to_string(self.place.path().join(format!("init.{what}"))).ok()
    }

    /// Puts `canary-value` into a builtin store by this program.
    fn put(
        &self,
        answers: Vec<(u16, Value)>,
        name: &str,
        more: &[&str],
    ) -> (Option<i32>, String, String, Receiver<String>) {
        let path = self.path();
        let store = [
            "--builtin-store",
            "/s",
            "--builtin-key-file",
            "/k",
            "--init",
            path.to_str().unwrap(),
        ];
        let all = [&["secret", "put", name], &store[..], more].concat();
        let told = ask(answers, &all, "canary-value");
        assert!(!format!("{told:?}").contains("canary"), "{told:?}");
        told
    }
}

const PIN: [&str; 4] = ["--profile", "ehr", "--key", "K"];

/// `sealfleet-init` writes, and the version that it answers is pinned.
#[test]
fn a_version_in_a_builtin_store_is_pinned_in_one_go() {
    for name in ["ehr-token", "builtin://ehr-token"] {
        let secrets = |reference: &str| json!({ "secrets": { "K": reference } });
        let answers = vec![
            (200, profile("ehr", 1, secrets("builtin://ehr-token@v1"))),
            whoami(Some("healthcare")),
            (200, profile("ehr", 2, secrets("builtin://ehr-token@v2"))),
        ];
        let init = Init::new();
        let (code, out, err, seen) = init.put(answers, name, &PIN);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        assert!(out.contains("ehr is now version 2"), "{out}");
        let (line, head, body) = parts(&seen.iter().nth(2).unwrap());
        assert!(
            line.starts_with("PUT /v1/profiles/ehr") && head.contains("if-match: \"1\""),
            "{head}"
        );
        assert_eq!(body["secrets"]["K"], "builtin://ehr-token@v2");
        assert_eq!(init.noted("value").as_deref(), Some("canary-value"));
        let arguments = init.noted("arguments").unwrap();
        let expected = "builtin put --quiet --store /s --key-file /k -- ehr-token\n";
        assert_eq!(arguments, expected, "{name}");
    }

    let (code, out, err, _) = Init::new().put(vec![], "ehr-token", &[]);
    assert!(
        code == Some(0) && out.contains("builtin://ehr-token@v2"),
        "{err}"
    );
    assert!(
        err.contains("no step sees this version yet") && err.contains("--profile"),
        "{err}"
    );
    let (code, _, err, _) = Init::new().put(vec![], "ehr-token", &["--project", "healthcare"]);
    assert_eq!(code, Some(2), "{err}");
}

/// What would not be pinned is not written to a builtin store either.
#[test]
fn a_builtin_reference_that_cannot_be_pinned_is_not_written() {
    let ehr = || (200, profile("ehr", 1, json!({})));
    let own = || whoami(Some("healthcare"));
    let none = (200, json!({ "items": [] }));
    for (name, answers, code, why) in [
        (
            "builtin://ehr-token",
            vec![problem(404, "not_found"), none],
            3,
            "`ehr`",
        ),
        ("builtin://system/crm", vec![ehr(), own()], 2, "`system/`"),
        (
            "builtin://ehr-token",
            vec![ehr(), whoami(None)],
            2,
            "`system/`",
        ),
        ("builtin://ehr token", vec![], 2, "`builtin://ehr token`"),
        (
            "builtin://ehr-token@v1",
            vec![],
            2,
            "`builtin://ehr-token@v1`",
        ),
        (
            "aws-sm://sealfleet/healthcare/crm",
            vec![],
            2,
            "`--builtin-store`",
        ),
        (
            "vault://kv/healthcare/crm#k",
            vec![],
            2,
            "`--builtin-store`",
        ),
    ] {
        let init = Init::new();
        let (found, _, err, _) = init.put(answers, name, &PIN);
        assert!(found == Some(code) && err.contains(why), "{name}: {err}");
        assert_eq!(init.noted("arguments"), None, "{name} was written");
    }
    // A reference says where it leads, and a store is needed for it.
    let (code, _, err, _) = ask(vec![], &["secret", "put", "builtin://x"], "canary-value");
    assert!(
        code == Some(2) && err.contains("--builtin-store FILE"),
        "{err}"
    );
}

/// The value is there, and the message says how to pin it by hand.
#[test]
fn a_refused_pin_leaves_the_profile_and_tells_the_written_version() {
    let init = Init::new();
    let answers = vec![
        (200, profile("ehr", 1, json!({}))),
        whoami(Some("healthcare")),
        problem(412, "version_conflict"),
        (200, profile("ehr", 2, json!({ "env": { "A": "1" } }))),
        problem(403, "forbidden"),
    ];
    let (code, out, err, seen) = init.put(answers, "builtin://ehr-token", &PIN);
    assert_eq!((code, out.as_str()), (Some(3), ""), "{err}");
    let todo = "set `secrets.K` to `builtin://ehr-token@v2`";
    assert!(
        err.contains("the secret is written") && err.contains(todo),
        "{err}"
    );
    assert_eq!(init.noted("value").as_deref(), Some("canary-value"));
    let puts = seen.iter().filter(|request| request.starts_with("PUT "));
    assert_eq!(puts.count(), 2, "it is tried on what others changed, once");
}

/// A reference says project, name and key.
#[test]
fn a_value_is_put_and_pinned_by_its_reference_in_secrets_manager() {
    let answers = vec![
        known(),
        (
            200,
            profile("crm", 3, json!({ "secrets": { "KEY": REFERENCE } })),
        ),
        whoami(Some("healthcare")),
        (200, profile("crm", 4, json!({}))),
    ];
    let arguments = [REFERENCE, "--profile", "crm", "--key", "KEY"];
    let (code, text, seen, written) = put(answers, &arguments, "canary-value");
    assert_eq!(code, Some(0), "{text}");
    let request = written.recv().unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("canary"), "{head}");
    let body: Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["SecretId"], "sealfleet/healthcare/crm");
    assert_eq!(body["SecretString"], r#"{"api-key":"canary-value"}"#);
    let asked: Vec<String> = seen.iter().collect();
    assert!(
        asked
            .iter()
            .all(|request| !request.contains("canary-value"))
    );
    let (line, head, body) = parts(asked.last().unwrap());
    assert!(line.starts_with("PUT ") && head.contains("if-match: \"3\""));
    assert_eq!(body["secrets"]["KEY"], format!("{REFERENCE}@{UUID}"));
}

/// Nothing is written for a project that is not there, for a profile that is not, or under a name
/// that is not the profile's to have.
#[test]
fn a_reference_in_secrets_manager_that_cannot_be_pinned_is_not_written() {
    let crm = || (200, profile("crm", 1, json!({})));
    let none = || (200, json!({ "items": [] }));
    for (reference, answers, code, why) in [
        (
            REFERENCE,
            vec![problem(404, "not_found")],
            2,
            "there is no project",
        ),
        (
            REFERENCE,
            vec![known(), problem(404, "not_found"), none()],
            3,
            "`crm`",
        ),
        // An operator sees every project. Its profiles are of the system scope.
        (
            REFERENCE,
            vec![known(), crm(), whoami(None)],
            2,
            "must start with `sealfleet/system/`",
        ),
        (
            "aws-sm://sealfleet/system/crm#api-key",
            vec![crm(), whoami(Some("healthcare"))],
            2,
            "must start with `sealfleet/healthcare/`",
        ),
        (
            "aws-sm://elsewhere/healthcare/crm#k",
            vec![],
            2,
            "sealfleet/PROJECT",
        ),
    ] {
        let arguments = [reference, "--profile", "crm", "--key", "KEY"];
        let (found, text, _, written) = put(answers, &arguments, "canary-value");
        assert!(
            found == Some(code) && text.contains(why),
            "{reference}: {text}"
        );
        assert!(written.try_recv().is_err(), "{reference} was written");
    }
}
