//! The capability table as a document, and a scheme and a host that are added by one row each.
//!
//! `SEALFLEET_WRITE_DOCS=1 cargo test -p sealfleet-domain --test capability` writes the document.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use sealfleet_domain::capability::{
    AWS_SM, BACKENDS, Carries, Egress, FARGATE, HOSTS, Host, Keyed, Mode, Names, SCHEMES, Scheme,
    Versions,
};
use sealfleet_domain::delivery::Kind;
use sealfleet_domain::identity::SecretRef;
use sealfleet_domain::profile::Content;
use sealfleet_domain::{Owner, Reference, SecretUri};

const DOCUMENT: &str = "docs/capabilities.md";

#[test]
fn the_document_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(DOCUMENT);
    let written = document();
    if std::env::var_os("SEALFLEET_WRITE_DOCS").is_some() {
        std::fs::write(&path, &written).expect("it can be written");
    }
    let read = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        read, written,
        "{DOCUMENT} is not the table; write it by `SEALFLEET_WRITE_DOCS=1 cargo test -p sealfleet-domain --test capability`"
    );
}

fn document() -> String {
    let mut text = "\
<!-- Made of crates/domain/src/capability.rs: `SEALFLEET_WRITE_DOCS=1 cargo test -p sealfleet-domain --test capability` -->

# Capabilities

What each kind of pool can run, and what each kind of secret reference can do. A step that its pool cannot run is refused
at enqueue, with the reason; a reference that breaks a rule of its scheme is refused when its profile is written.

## Pools

| `kind` | what runs a sandbox | execution modes | secrets | [delivery](guides/delivery.md) | what a step is brought beside its own text | what comes out of a step | network of a sandbox | CPU units and MiB |
|---|---|---|---|---|---|---|---|---|
"
    .to_owned();
    for host in HOSTS {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {} | {} | {} |",
            host.kind,
            host.runs,
            listed(host.modes, |mode| format!("`{mode}`")),
            listed(host.schemes, |scheme| format!("`{}://`", scheme.name)),
            listed(host.delivers, |kind| format!("`{}`", kind.text())),
            brought(host),
            host.out,
            listed(host.egress, network),
            if host.sizes.is_empty() {
                "set where the worker runs".to_owned()
            } else {
                let sizes: Vec<String> = host.sizes.iter().map(ToString::to_string).collect();
                sizes.join("; ")
            },
        );
    }
    text.push_str(
        "
1,024 CPU units are one virtual CPU. Where a pool has several networks, whoever runs the worker chooses what it
lends; on Fargate the profiles of a step choose.

## Sandbox backends of workers

A worker of a `pull` pool has one or more of these, and tells which when it starts. A step asks for one by requiring the
label `sandbox.backend`, and for a variant of its image, of those that the worker names, by `sandbox.image`; a pool with a
`backend` asks for it in the name of all its steps. What a backend cannot do is refused at enqueue.

| `sandbox.backend` | what runs a sandbox | execution modes | network of a sandbox |
|---|---|---|---|
");
    for backend in BACKENDS {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            backend.name,
            backend.runs,
            listed(backend.modes, |mode| format!("`{mode}`")),
            listed(backend.egress, network),
        );
    }
    text.push_str(
        "
## Secret references

| reference | backend | its current version | names of a project's secrets | names of the operators' secrets |
|---|---|---|---|---|
",
    );
    for scheme in SCHEMES {
        let versions = match scheme.versions {
            Versions::Described => {
                "asked at each enqueue and start; a profile may pin another".to_owned()
            }
            Versions::None { because } => format!("none: {because}, so no rotation is seen"),
            Versions::Pinned { because } => format!("pinned by the profile: {because}"),
        };
        let (own, system) = match scheme.names {
            Names::Prefixed(prefix) => (
                format!("`{prefix}PROJECT/…`"),
                format!("`{prefix}system/…`"),
            ),
            Names::Mounted => (
                "`MOUNT/PROJECT/…`".to_owned(),
                "`MOUNT/system/…`".to_owned(),
            ),
            Names::OfLogin => (
                "what the login of its workers reads".to_owned(),
                "none".to_owned(),
            ),
            Names::SystemApart => ("all but `system/…`".to_owned(), "`system/…`".to_owned()),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {versions} | {own} | {system} |",
            scheme.reference_form(),
            scheme.backend
        );
    }
    text
}

/// What a host brings to its steps.
fn brought(host: &Host) -> String {
    let words = host.carries.iter().filter_map(|what| match what {
        Carries::Uploads => Some("uploads"),
        Carries::Takes => Some("results and artifacts of earlier steps"),
        Carries::Result | Carries::Artifacts | Carries::LocalArtifacts => None,
    });
    let words: Vec<&str> = words.collect();
    if words.is_empty() {
        "nothing".to_owned()
    } else {
        words.join(", ")
    }
}

fn network(egress: &Egress) -> String {
    match egress {
        Egress::None => "none".to_owned(),
        Egress::Policy => "what the step's [egress policy](guides/egress.md) allows".to_owned(),
        Egress::Host => "that of the machine or subnet around it".to_owned(),
    }
}

fn listed<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(", ")
}

static TOY: Scheme = Scheme {
    name: "toy",
    backend: "a box",
    form: "toy://NAME#KEY",
    keyed: Keyed::Always,
    versions: Versions::Pinned {
        because: "a box has no door",
    },
    names: Names::Prefixed("boxes/"),
};

static BOX: Host = Host {
    kind: "box",
    name: "box",
    runs: "nothing",
    out: "nothing",
    modes: &[Mode::Identity],
    carries: &[],
    schemes: &[&TOY],
    egress: &[Egress::None],
    delivers: &[Kind::Env],
    sizes: &[],
    backends: &[],
};

#[test]
fn a_new_scheme_is_one_row() {
    let text = "toy://boxes/system/a#k";
    assert!(text.parse::<SecretUri>().is_err(), "it is not in the table");
    let uri = SecretUri::parse(text, &[&AWS_SM, &TOY]).expect("a uri");
    assert_eq!(
        (uri.scheme(), uri.name(), uri.key(), uri.to_string()),
        ("toy", "boxes/system/a", Some("k"), text.to_owned())
    );
    let checked = |version: Option<&str>| {
        let reference = Reference {
            uri: uri.clone(),
            version: version.map(str::to_owned),
            redact: true,
        };
        let content = Content {
            secrets: BTreeMap::from([("KEY".to_owned(), reference)]),
            ..Content::default()
        };
        content.check(&Owner::System).map_err(|error| error.message)
    };
    assert_eq!(
        checked(None),
        Err("pin the version, as in `toy://NAME#KEY@VERSION`: a box has no door".to_owned())
    );
    assert_eq!(checked(Some("1")), Ok(()));
    let secret = SecretRef {
        delivery: sealfleet_domain::delivery::Delivery::Env,
        redact: true,
        name: "KEY".to_owned(),
        uri: uri.clone(),
        version: Some("1".to_owned()),
        arn: None,
        from: "system/base".parse().expect("a profile"),
    };
    assert_eq!(BOX.check_secrets(std::slice::from_ref(&secret)), Ok(()));
    assert!(FARGATE.check_secrets(&[secret]).is_err());
}
