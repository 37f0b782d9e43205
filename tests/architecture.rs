//! What may depend on what: read from `cargo metadata`, so that a wrong edge fails before a
//! reviewer has to see it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Clients that can read a value from an identity backend, and who may link them.
const VALUE_READERS: [(&str, &[&str]); 5] = [
    // `sealfleet-versions` describes and puts; the calls that read are banned there by clippy.
    (
        "aws-sdk-secretsmanager",
        &["sealfleet-versions", "sealfleet-local-ecs"],
    ),
    ("chacha20poly1305", &["sealfleet-init"]),
    ("argon2", &["sealfleet-init"]),
    ("vaultrs", &["sealfleet-init"]),
    ("aws-sdk-bedrockagentcore", &["sealfleet-init"]),
];

struct Graph {
    /// Direct dependencies that are built in, by package.
    edges: BTreeMap<String, BTreeSet<String>>,
    /// The packages of this workspace.
    own: BTreeSet<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn graph() -> Graph {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let names: BTreeMap<String, String> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().unwrap() {
        let from = edges.entry(names[&text(&node["id"])].clone()).or_default();
        for dependency in node["deps"].as_array().unwrap() {
            let built_in = dependency["dep_kinds"]
                .as_array()
                .unwrap()
                .iter()
                .any(|kind| kind["kind"].is_null());
            if built_in {
                from.insert(names[&text(&dependency["pkg"])].clone());
            }
        }
    }
    let own = metadata["workspace_members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| names[&text(id)].clone())
        .collect();
    Graph { edges, own }
}

impl Graph {
    fn reached_from(&self, start: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![start.to_owned()];
        while let Some(package) = waiting.pop() {
            for next in self.edges.get(&package).into_iter().flatten() {
                if reached.insert(next.clone()) {
                    waiting.push(next.clone());
                }
            }
        }
        reached
    }
}

#[test]
fn only_sandboxes_link_a_client_that_reads_values() {
    let graph = graph();
    for (client, allowed) in VALUE_READERS {
        let linked: Vec<&String> = graph
            .own
            .iter()
            .filter(|package| {
                graph.edges[*package].contains(client) && !allowed.contains(&package.as_str())
            })
            .collect();
        assert!(
            linked.is_empty(),
            "{linked:?} must not depend on `{client}`"
        );
    }
    let functions = graph.reached_from("sealfleet-functions");
    assert!(
        functions.contains("aws-sdk-dynamodb"),
        "the graph was not read"
    );
    for client in [
        "chacha20poly1305",
        "vaultrs",
        "aws-sdk-bedrockagentcore",
        "sealfleet-init",
    ] {
        assert!(
            !functions.contains(client),
            "the control plane reaches `{client}`"
        );
    }
}

#[test]
fn the_stand_in_and_init_are_linked_by_nothing() {
    let graph = graph();
    for alone in ["sealfleet-local-ecs", "sealfleet-init"] {
        let linked: Vec<&String> = graph
            .own
            .iter()
            .filter(|package| graph.edges[*package].contains(alone))
            .collect();
        assert!(linked.is_empty(), "{linked:?} links `{alone}`");
    }
}

#[test]
fn all_who_call_the_api_have_the_same_client() {
    let graph = graph();
    for caller in ["sealfleet-cli", "sealfleet-worker", "sealfleet-tests"] {
        assert!(
            graph.edges[caller].contains("sealfleet-client"),
            "`{caller}` calls the API without the client"
        );
    }
    for caller in ["sealfleet-cli", "sealfleet-worker"] {
        assert!(
            !graph.edges[caller].contains("reqwest"),
            "`{caller}` sends requests of its own"
        );
    }
}

#[test]
fn the_rules_do_no_io() {
    let reached = graph().reached_from("sealfleet-domain");
    assert!(reached.contains("serde"), "the graph was not read");
    let io: Vec<&String> = reached
        .iter()
        .filter(|package| {
            package.starts_with("aws-") || ["tokio", "hyper", "reqwest"].contains(&package.as_str())
        })
        .collect();
    assert!(io.is_empty(), "sealfleet-domain reaches {io:?}");
}

/// What `cargo tree` says of a build.
fn tree(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && said.contains("sealfleet-domain"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said
}

#[test]
fn what_is_deployed_makes_no_schemas() {
    let functions = ["--package", "sealfleet-functions"];
    let said = tree(&[&functions[..], &["--edges", "normal,features"]].concat());
    assert!(
        !said.contains("schemars"),
        "the functions link `schemars` without being asked to"
    );
}

#[test]
fn what_is_deployed_calls_aws_by_generated_clients() {
    let graph = graph();
    assert!(graph.edges["sealfleet-cli"].contains("sealfleet-aws-json"));
    for deployed in ["sealfleet-functions", "sealfleet-worker", "sealfleet-init"] {
        assert!(
            !graph.reached_from(deployed).contains("sealfleet-aws-json"),
            "`{deployed}` reaches `sealfleet-aws-json`"
        );
    }
}

/// `cargo build` and then `cargo build --workspace` compile a dependency twice if its features are
/// not the same in both.
#[test]
fn a_plain_build_shares_what_it_compiles_with_the_whole_workspace() {
    let features = |edges, packages: &[&str]| -> BTreeSet<String> {
        let format = ["--prefix", "none", "--format", "{p} {f}", "--edges", edges];
        let said = tree(&[packages, &format[..]].concat());
        said.lines()
            .map(|line| line.trim_end_matches(" (*)").to_owned())
            .collect()
    };
    let plain = features("normal,build", &[]);
    let whole = features("normal,build,dev", &["--workspace"]);
    let twice: Vec<&String> = plain.difference(&whole).collect();
    assert!(
        twice.is_empty(),
        "other features than in the whole workspace; see tests/support/stack/Cargo.toml: {twice:#?}"
    );
}

#[test]
fn the_calls_that_read_values_stand_in_sandboxes_alone() {
    let mut found = Vec::new();
    let mut waiting = vec![root()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                if source.contains(".get_secret_value(")
                    || source.contains(".batch_get_secret_value(")
                {
                    found.push(path.strip_prefix(root()).unwrap().to_owned());
                }
            }
        }
    }
    let this = Path::new("tests/architecture.rs");
    let elsewhere: Vec<&PathBuf> = found
        .iter()
        .filter(|path| !path.starts_with("sandbox/init") && !path.starts_with("local/ecs"))
        .filter(|path| *path != this)
        .collect();
    assert!(!found.is_empty(), "no source was read");
    assert!(elsewhere.is_empty(), "{elsewhere:?} read secret values");
}
