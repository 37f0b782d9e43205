//! Lists: how much of them, and names that are nearly right.

use serde_json::{Value, json};

use super::contexts::project;
use super::identity::{ask, problem};

#[test]
fn every_list_takes_a_limit_and_keeps_its_cursor() {
    for command in [
        &["token", "list"][..],
        &["project", "list"],
        &["enrolment-key", "list"],
        &["worker", "list"],
        &["profile", "list"],
        &["profile", "history", "crm"],
        &["revocation", "list"],
        &["run", "list"],
        &["audit", "list"],
    ] {
        // An empty page may have a next one.
        let pages = || {
            vec![
                (200, json!({ "items": [], "next_cursor": "c1" })),
                (200, json!({ "items": [] })),
            ]
        };
        let limit = ["--limit", "1", "--output", "json"];
        let (code, out, err, seen) = ask(pages(), &[command, &limit].concat(), "");
        let list: Value = serde_json::from_str(&out).unwrap();
        assert_eq!(
            (code, list, err.as_str()),
            (Some(0), json!({ "items": [] }), "")
        );
        let (first, second) = (seen.recv().unwrap(), seen.recv().unwrap());
        assert!(
            first.contains("limit=1") && second.contains("cursor=c1"),
            "{command:?}"
        );
    }
}

#[test]
fn a_list_that_is_cut_says_how_to_go_on() {
    let project = |name: &str| json!({ "project": name });
    let page = || {
        let items = [project("a"), project("b")];
        vec![(200, json!({ "items": items, "next_cursor": "c2" }))]
    };
    let list = ["project", "list", "--limit", "2", "--cursor", "c1"];
    let (code, out, err, seen) = ask(page(), &list, "");
    assert_eq!((code, out.as_str()), (Some(0), "PROJECT\na\nb\n"));
    assert!(err.contains("--cursor c2"), "{err}");
    assert!(seen.recv().unwrap().contains("cursor=c1"));
    let (_, out, err, _) = ask(page(), &[&list[..], &["--output", "json"]].concat(), "");
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&list["next_cursor"], err.as_str()), (&json!("c2"), ""));
}

#[test]
fn a_profile_that_is_misspelt_is_answered_with_those_that_are_near() {
    let known = || {
        let at = "2026-01-31T08:00:00Z";
        let profile =
            |name: &str| json!({ "name": name, "version": 1, "created_at": at, "updated_at": at });
        (
            200,
            json!({ "items": [profile("billing"), profile("crm")] }),
        )
    };
    let missing = || problem(404, "not_found");
    for command in [
        &["profile", "show", "crn"][..],
        &["profile", "export", "crn"],
        &["profile", "history", "crn"],
        &["profile", "delete", "crn"],
        &[
            "secret",
            "put",
            "x",
            "k",
            "--project",
            "healthcare",
            "--profile",
            "crn",
            "--key",
            "K",
        ],
    ] {
        let mut answers = vec![missing(), known()];
        if command.starts_with(&["secret"]) {
            answers.insert(0, (200, project()));
        }
        let (code, _, err, _) = ask(answers, command, "value");
        assert!(
            code == Some(3) && err.contains("no profile `crn`; did you mean `crm`?"),
            "{command:?}: {err}"
        );
    }
    // The run's profile may be what there is not, or something else.
    let exec = ["run", "exec", "--profile", "crn", "--", "true"];
    let (code, _, err, _) = ask(vec![missing(), missing(), known()], &exec, "");
    assert!(
        code == Some(3) && err.contains("did you mean `crm`?"),
        "{err}"
    );
}
