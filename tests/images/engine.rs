//! The engine, the images, and the container that a task definition describes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sealfleet_fargate::SHAPE;
use serde_json::Value;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// `sealfleet/NAME` of this version.
pub fn image(name: &str) -> String {
    format!("sealfleet/{name}:{}", env!("CARGO_PKG_VERSION"))
}

pub fn docker() -> Command {
    let told = std::env::vars_os().any(|(name, _)| name == "DOCKER_HOST");
    assert!(told, "start these tests with `scripts/test-images`");
    Command::new("docker")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a command prints; it must succeed.
pub fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// The task definition of this version's shape; a test of `sealfleet-fargate` compares it with what
/// is sent to ECS.
pub fn definition() -> Value {
    let file = root().join(format!("crates/hosts/fargate/tests/shape-{SHAPE}.json"));
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// The options of `docker run` for the definition's container, except its environment.
pub fn options(definition: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().unwrap().clone();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let volumes: Vec<Value> = list(&definition["volumes"]);
    let containers = list(&definition["containerDefinitions"]);
    let [container] = containers.as_slice() else {
        panic!("not one container: {containers:?}");
    };
    let mut options = Vec::new();
    for (key, value) in container.as_object().unwrap() {
        match key.as_str() {
            "user" => options.push(format!("--user={}", word(value))),
            "workingDirectory" => options.push(format!("--workdir={}", word(value))),
            "readonlyRootFilesystem" => {
                assert!(value.as_bool().unwrap());
                options.push("--read-only".to_owned());
            }
            "mountPoints" => {
                for point in list(value) {
                    // Only a name: nothing of the host, nothing that lasts.
                    let volume = serde_json::json!({ "name": point["sourceVolume"] });
                    assert!(volumes.contains(&volume), "{volume}");
                    options.push(format!("--volume={}", word(&point["containerPath"])));
                }
            }
            "linuxParameters" => {
                for dropped in list(&value["capabilities"]["drop"]) {
                    options.push(format!("--cap-drop={}", word(&dropped)));
                }
                let known = serde_json::json!({
                    "capabilities": { "drop": value["capabilities"]["drop"] }
                });
                assert_eq!(value, &known);
            }
            "secrets" => assert_eq!(list(value).len(), 0),
            // What says nothing of the container's form.
            "name" | "image" | "essential" | "cpu" | "environment" | "logConfiguration"
            | "stopTimeout" => {}
            other => panic!("translate `{other}` of the container definition"),
        }
    }
    options.sort();
    options
}

/// `docker run --rm` with these options; the network is the host's, for the control plane's
/// stand-in.
pub fn run(options: &[String], environment: &[(&str, String)], image: &str) -> Output {
    let mut command = docker();
    command.args(["run", "--rm", "--pull=never", "--network=host"]);
    command.args(options);
    for (name, value) in environment {
        command.arg(format!("--env={name}={value}"));
    }
    command.arg(image).output().unwrap()
}

/// Builds an image by a recipe.
pub fn build(name: &str, recipe: &str) -> String {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("Dockerfile"), recipe).unwrap();
    let tag = format!("{name}:broken");
    let mut command = docker();
    command
        .env("DOCKER_BUILDKIT", "0")
        .args(["build", "--quiet", "--network=none", "--tag", &tag])
        .arg(place.path());
    said(&mut command);
    tag
}
