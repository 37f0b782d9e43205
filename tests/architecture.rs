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

/// Clients and ciphers that can yield a value. Identity backends link them, and the packages named
/// here.
const VALUE_READERS: [(&str, &[&str]); 5] = [
    // `sealfleet-versions` describes and puts; clippy bans the calls that read there.
    (
        "aws-sdk-secretsmanager",
        &["sealfleet-versions", "sealfleet-local-ecs"],
    ),
    ("chacha20poly1305", &[]),
    ("argon2", &[]),
    ("vaultrs", &[]),
    ("aws-sdk-bedrockagentcore", &[]),
];

/// The crate of identity backends and the backends themselves.
fn is_identity(package: &str) -> bool {
    package.starts_with("sealfleet-identity")
}

struct Graph {
    /// Direct dependencies that are built in, by package.
    edges: BTreeMap<String, BTreeSet<String>>,
    /// The packages of this workspace.
    own: BTreeSet<String>,
    /// Where each package of this workspace stands, from the root.
    folders: BTreeMap<String, PathBuf>,
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
    let members = metadata["workspace_members"].as_array().unwrap();
    let own: BTreeSet<String> = members.iter().map(|id| names[&text(id)].clone()).collect();
    let folders = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| members.contains(&package["id"]))
        .map(|package| {
            let manifest = PathBuf::from(text(&package["manifest_path"]));
            let folder = manifest.parent().unwrap().strip_prefix(root()).unwrap();
            (text(&package["name"]), folder.to_owned())
        })
        .collect();
    Graph {
        edges,
        own,
        folders,
    }
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
fn only_identity_backends_link_a_client_that_reads_values() {
    let graph = graph();
    for (client, allowed) in VALUE_READERS {
        let linked: Vec<&String> = graph
            .own
            .iter()
            .filter(|package| graph.edges[*package].contains(client))
            .filter(|package| !is_identity(package) && !allowed.contains(&package.as_str()))
            .collect();
        assert!(
            linked.is_empty(),
            "{linked:?} must not depend on `{client}`"
        );
    }
    assert!(
        graph.edges["sealfleet-identity-builtin"].contains("chacha20poly1305"),
        "the graph was not read"
    );
}

#[test]
fn only_init_links_identity_backends() {
    let graph = graph();
    let linked: Vec<&String> = graph
        .own
        .iter()
        .filter(|package| graph.edges[*package].iter().any(|edge| is_identity(edge)))
        // The egress proxy is a part of init, and holds the values that it delivers.
        .filter(|package| !["sealfleet-init", "sealfleet-egress"].contains(&package.as_str()))
        .filter(|package| !is_identity(package))
        .collect();
    assert!(linked.is_empty(), "{linked:?} links an identity backend");
    for program in [
        "sealfleet-functions",
        "sealfleet-worker",
        "sealfleet-cli",
        "sealfleet-local",
    ] {
        let reached = graph.reached_from(program);
        assert!(
            reached.contains("sealfleet-domain"),
            "the graph was not read"
        );
        let readers: Vec<&String> = reached
            .iter()
            .filter(|package| {
                is_identity(package)
                    || [
                        "chacha20poly1305",
                        "argon2",
                        "vaultrs",
                        "aws-sdk-bedrockagentcore",
                    ]
                    .contains(&package.as_str())
            })
            .collect();
        assert!(readers.is_empty(), "`{program}` reaches {readers:?}");
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

/// What searches for values holds them.
#[test]
fn only_init_links_the_search_for_values() {
    let graph = graph();
    let linked: Vec<&String> = graph
        .own
        .iter()
        .filter(|package| graph.edges[*package].contains("sealfleet-redaction"))
        .collect();
    assert_eq!(linked, ["sealfleet-init"]);
}

/// What ships never links the local stack, a stand-in, a test or a tool. Development dependencies
/// are not built in and do not count.
#[test]
fn the_product_links_nothing_of_the_local_stack_the_tests_or_the_tools() {
    let graph = graph();
    let beside = |package: &str| {
        let folder = graph.folders[package].as_path();
        ["local", "tests", "tools"]
            .iter()
            .any(|room| folder.starts_with(room))
    };
    let (not_shipped, product): (Vec<&String>, Vec<&String>) =
        graph.own.iter().partition(|package| beside(package));
    assert!(not_shipped.len() > 5 && product.len() > 10, "{product:?}");
    for package in product {
        let linked: Vec<&&String> = not_shipped
            .iter()
            .filter(|other| graph.edges[package].contains(**other))
            .collect();
        assert!(linked.is_empty(), "`{package}` links {linked:?}");
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

/// What a program reads as an option must never be set by the tests for themselves.
#[test]
fn the_tests_set_no_variable_that_a_program_reads() {
    let text = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let scripts = ["scripts/test", "scripts/test-images"].map(text).concat();
    let set: BTreeSet<&str> = scripts
        .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .filter(|word| word.starts_with("SEALFLEET_"))
        .collect();
    assert!(!set.is_empty(), "the scripts set nothing");
    let strays: Vec<_> = set
        .iter()
        .filter(|name| !name.starts_with("SEALFLEET_TEST_"))
        .collect();
    assert!(
        strays.is_empty(),
        "begin them with SEALFLEET_TEST_: {strays:?}"
    );
    let mut options = 0;
    for path in sources() {
        let source = std::fs::read_to_string(&path).unwrap();
        // As `clap` spells it.
        let read: Vec<&str> = source.split("env = \"").skip(1).collect();
        options += read.len();
        let tests_own = read.iter().any(|name| name.starts_with("SEALFLEET_TEST_"));
        assert!(
            !tests_own,
            "{} reads a variable of the tests",
            path.display()
        );
    }
    assert!(options > 20, "no source was read");
}

/// Every Rust source of the repository.
fn sources() -> Vec<PathBuf> {
    let (mut found, mut waiting) = (Vec::new(), vec![root()]);
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != "node_modules" && !name.starts_with('.')
            {
                waiting.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn the_calls_that_read_values_stand_in_sandboxes_alone() {
    let found: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|path| {
            let source = std::fs::read_to_string(path).unwrap();
            source.contains(".get_secret_value(") || source.contains(".batch_get_secret_value(")
        })
        .map(|path| path.strip_prefix(root()).unwrap().to_owned())
        .collect();
    let this = Path::new("tests/architecture.rs");
    let elsewhere: Vec<&PathBuf> = found
        .iter()
        .filter(|path| !path.starts_with("sandbox/identity") && !path.starts_with("local/ecs"))
        .filter(|path| *path != this)
        .collect();
    assert!(!found.is_empty(), "no source was read");
    assert!(elsewhere.is_empty(), "{elsewhere:?} read secret values");
}

/// Names of hosts and vendors, in lower case.
const VENDORS: [&str; 22] = [
    "amazon",
    "arn",
    "arns",
    "aws",
    "bubblewrap",
    "cloudformation",
    "cloudtrail",
    "cloudwatch",
    "docker",
    "dynamodb",
    "ecs",
    "eventbridge",
    "fargate",
    "iam",
    "kms",
    "kubernetes",
    "lambda",
    "podman",
    "s3",
    "secretsmanager",
    "sqs",
    "sts",
];
/// Files of the domain that name them on purpose: the capability table, the list prices with their
/// sources, and the audit catalogue, which is a document for readers of the trail.
const VENDOR_FILES: [&str; 3] = ["capability.rs", "prices.rs", "audit/catalogue.rs"];
/// Words that are stored, audited or shown, by the file that spells them.
const VENDOR_WORDS: [(&str, &str); 7] = [
    // Stored with each hold of a hosted sandbox.
    ("step.rs", r#"#[serde(rename = "ecs")]"#),
    // Stored, audited and answered with each secret reference.
    ("identity.rs", "arn"),
    // Audited with an unexplained read.
    ("audit/mod.rs", "cloudtrail_event_id"),
    // The reserved prefixes of variables.
    ("names.rs", "AWS_"),
    ("profile.rs", "AWS_"),
    ("schema.rs", "AWS_"),
    // A claim that its reader has named.
    ("workload.rs", "https://aws.amazon.com/source_identity"),
];

#[test]
fn the_rules_name_no_host_and_no_vendor() {
    let home = root().join("crates/domain/src");
    let (mut found, mut read) = (Vec::new(), 0);
    let mut waiting = vec![home.clone()];
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&home).unwrap().to_str().unwrap();
            if path.is_dir() {
                // Tests need examples.
                if path.file_name().unwrap() != "tests" {
                    waiting.push(path);
                }
                continue;
            }
            if VENDOR_FILES.contains(&name) {
                continue;
            }
            read += 1;
            let source = std::fs::read_to_string(&path).unwrap();
            let rules = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for (number, line) in rules.lines().enumerate() {
                let mut line = line.to_owned();
                for (_, word) in VENDOR_WORDS.iter().filter(|(file, _)| *file == name) {
                    line = line.replace(word, "");
                }
                if words(&line)
                    .iter()
                    .any(|word| VENDORS.contains(&word.as_str()))
                {
                    found.push(format!("{name}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    assert!(read > 20, "the sources were not read");
    assert!(
        found.is_empty(),
        "these belong into capability.rs or an adapter:\n{}",
        found.join("\n")
    );
}

/// The words of a text, also those inside of `snake_case` and `CamelCase`, in lower case.
fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for letter in text.chars() {
        let begins = letter.is_uppercase() && before.is_lowercase();
        if begins || !letter.is_alphanumeric() {
            words.push(String::new());
        }
        if letter.is_alphanumeric() {
            let word = words.last_mut().unwrap();
            word.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words
}
