//! `sealfleet image check`, of good and of broken images.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::engine::{build, definition, docker, image, options, said, text};

/// The command line, beside this test.
fn sealfleet(arguments: &[&str]) -> Output {
    let own = std::env::current_exe().unwrap();
    let program = own.ancestors().nth(2).unwrap().join("sealfleet");
    Command::new(program)
        .args(["image", "check"])
        .args(arguments)
        .output()
        .unwrap()
}

pub fn checked(image: &str) -> (Option<i32>, Value, String) {
    let output = sealfleet(&[image, "--output", "json"]);
    let words = text(&output.stderr);
    let answer = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{words}"));
    (output.status.code(), answer, words)
}

/// The checks with this verdict.
fn named(answer: &Value, verdict: &str) -> Vec<String> {
    let findings = answer["findings"].as_array().unwrap().iter();
    findings
        .filter(|finding| finding["verdict"] == verdict)
        .map(|finding| finding["check"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn our_image_passes_in_the_container_of_the_task_definition() {
    let (code, answer, words) = checked(&image("sandbox"));
    assert_eq!((code, words.as_str()), (Some(0), ""), "{answer:#}");
    assert_eq!(answer["usable"], true);
    assert!(named(&answer, "warned").is_empty(), "{answer:#}");
    assert_eq!(named(&answer, "passed").len(), 11, "{answer:#}");
    let mut used: Vec<String> = serde_json::from_value(answer["options"].clone()).unwrap();
    used.sort();
    assert_eq!(used, options(&definition()));

    let output = sealfleet(&[&image("sandbox")]);
    let table = text(&output.stdout);
    assert!(
        table.starts_with("CHECK ") && table.contains("0.1.0 static, runs as uid 65534"),
        "{table}"
    );
}

#[test]
fn an_image_needs_nothing_but_init_and_two_directories() {
    let sandbox = image("sandbox");
    let tag = build(
        "scratch",
        &format!(
            "FROM scratch\n\
             COPY --from={sandbox} /usr/local/bin/sealfleet-init /sealfleet-init\n\
             COPY --from={sandbox} /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n\
             COPY --from={sandbox} --chown=65534:65534 /workspace /workspace\n\
             COPY --from={sandbox} --chown=65534:65534 /workspace /tmp\n\
             VOLUME [\"/tmp\", \"/workspace\"]\n\
             ENTRYPOINT [\"/sealfleet-init\", \"fargate\"]\n"
        ),
    );
    let (code, answer, words) = checked(&tag);
    assert_eq!(code, Some(0), "{answer:#}{words}");
    assert_eq!(named(&answer, "warned"), ["user", "shell"], "{answer:#}");
}

#[test]
fn each_fault_of_an_image_is_named_with_what_to_do() {
    let sandbox = image("sandbox");
    let init = format!("COPY --from={sandbox} /usr/local/bin/sealfleet-init /usr/bin/\n");
    let volumes = "VOLUME [\"/tmp\", \"/workspace\"]\n";
    let entry = "ENTRYPOINT [\"/usr/bin/sealfleet-init\", \"fargate\"]\n";
    let cases = [
        (
            "nothing",
            "LABEL nothing=done\n".to_owned(),
            vec!["entry point", "volumes", "init"],
        ),
        ("no-program", format!("{volumes}{entry}"), vec!["init"]),
        (
            "of-root",
            format!("{init}RUN mkdir /workspace\n{volumes}{entry}"),
            vec!["writable"],
        ),
        (
            "no-volume",
            format!("{init}RUN install -d -o 65534 /workspace\n{entry}"),
            vec!["volumes"],
        ),
        (
            "third-volume",
            format!(
                "{init}RUN install -d -o 65534 /workspace && install -d -o 65534 /data\n\
                 VOLUME /data\n{volumes}{entry}"
            ),
            vec!["nothing else writable"],
        ),
        (
            "no-certificates",
            format!(
                "{init}RUN install -d -o 65534 /workspace && rm -r /etc/ssl /usr/share/ca-certificates\n\
                 {volumes}{entry}"
            ),
            vec!["certificates"],
        ),
        (
            "another-entry",
            format!(
                "{init}RUN install -d -o 65534 /workspace\n{volumes}\
                 ENTRYPOINT [\"/usr/bin/sealfleet-init\"]\n"
            ),
            vec!["entry point"],
        ),
    ];
    for (name, recipe, failed) in cases {
        let tag = build(name, &format!("FROM sealfleet/base:local\n{recipe}"));
        let (code, answer, words) = checked(&tag);
        assert_eq!(named(&answer, "failed"), failed, "{name}: {answer:#}");
        assert_eq!((code, &answer["usable"]), (Some(1), &Value::Bool(false)));
        assert!(words.contains("cannot be a sandbox"), "{words}");
        let findings = answer["findings"].as_array().unwrap();
        for finding in findings {
            let advised = finding["advice"].is_string();
            assert_eq!(advised, finding["verdict"] != "passed", "{finding:#}");
        }
    }
}

#[test]
fn what_cannot_be_checked_is_said() {
    let output = sealfleet(&["no/such:image"]);
    let words = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(words.contains("pull or build it first"), "{words}");
    let output = sealfleet(&["any", "--docker", "/no/such/program"]);
    let words = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(words.contains("install a container engine"), "{words}");
    assert!(!Path::new("/no/such/program").exists());
}

#[test]
fn a_check_that_takes_too_long_leaves_no_container() {
    let tag = build(
        "hangs",
        "FROM sealfleet/base:local\n\
         RUN printf '#!/bin/sh\\nexec sleep 600\\n' >/hangs && chmod 755 /hangs\n\
         VOLUME [\"/tmp\", \"/workspace\"]\n\
         ENTRYPOINT [\"/hangs\", \"fargate\"]\n",
    );
    let output = sealfleet(&[&tag, "--timeout-seconds", "10"]);
    let words = text(&output.stderr);
    assert!(
        !output.status.success() && words.contains("did not end within 10 s"),
        "{words}"
    );
    let mut all = docker();
    all.args(["ps", "--all", "--quiet"])
        .arg(format!("--filter=ancestor={tag}"));
    assert_eq!(said(&mut all), "", "containers are left");
}
