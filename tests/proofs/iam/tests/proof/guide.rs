//! What the documents for a reviewer name is there: files, sections, scenarios.

use std::path::Path;

/// The documents, from the root.
const DOCUMENTS: [&str; 5] = [
    "docs/guides/security-review.md",
    "docs/who-may-do-what.md",
    "docs/reference/guarantees.md",
    "SECURITY.md",
    "README.md",
];

/// `[text](target)` of a document.
fn links(text: &str) -> Vec<&str> {
    text.match_indices("](")
        .filter_map(|(at, found)| text[at + found.len()..].split_once(')'))
        .map(|(link, _)| link)
        .collect()
}

/// Headings, as GitHub names them in links.
fn anchors(text: &str) -> Vec<String> {
    let headings = text
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|line| line.trim_start_matches('#').trim());
    let name = |heading: &str| -> String {
        let kept = heading
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
            .collect::<String>();
        kept.replace(' ', "-")
    };
    headings.map(name).collect()
}

/// Texts between single backticks, outside of code blocks.
fn quoted(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose
        .flat_map(|part| part.split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    for document in DOCUMENTS {
        let text = sealfleet_iam::text(document).unwrap();
        let folder = sealfleet_iam::root().join(Path::new(document).parent().unwrap());
        let inside: Vec<&str> = links(&text)
            .into_iter()
            .filter(|link| !link.contains("://"))
            .collect();
        for link in inside {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                sealfleet_iam::root().join(document)
            } else {
                folder.join(file)
            };
            assert!(target.exists(), "{document}: `{link}` is no file");
            if !anchor.is_empty() {
                let there = anchors(&std::fs::read_to_string(&target).unwrap());
                assert!(
                    there.contains(&anchor.to_owned()),
                    "{document}: `{link}` is no section of {there:?}"
                );
            }
        }
    }
}

#[test]
fn files_and_scenarios_that_are_named_are_there() {
    let mut scenarios = String::new();
    for room in [
        "tests/scenarios",
        "tests/conformance",
        "functions/tests/semantics",
    ] {
        for entry in std::fs::read_dir(sealfleet_iam::root().join(room)).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_some_and(|ending| ending == "rs") {
                scenarios.push_str(&std::fs::read_to_string(file).unwrap());
            }
        }
    }
    let mut named = 0;
    for document in [
        "docs/guides/security-review.md",
        "docs/reference/guarantees.md",
    ] {
        let text = sealfleet_iam::text(document).unwrap();
        for name in quoted(&text) {
            let folders = [
                "tests/",
                "crates/",
                "functions/",
                "sandbox/",
                "infra/",
                "scripts/",
                "docs/",
            ];
            if folders.iter().any(|folder| name.starts_with(folder)) && !name.contains([' ', '*']) {
                assert!(
                    sealfleet_iam::root().join(name).exists(),
                    "{document}: there is no `{name}`"
                );
                named += 1;
            }
            let number = name
                .strip_prefix('s')
                .filter(|rest| rest.len() == 2 && rest.parse::<u8>().is_ok());
            if number.is_some() {
                assert!(
                    scenarios.contains(&format!("async fn {name}_")),
                    "{document}: there is no scenario `{name}`"
                );
                named += 1;
            }
            if name.starts_with("who_may_do_what_on_aws") {
                assert!(
                    scenarios.contains(&format!("async fn {name}")),
                    "{document}: there is no scenario `{name}`"
                );
            }
        }
    }
    assert!(named > 40, "{named} names were read");
}

/// The guide is found from the README, and every promise is in it and in the table of guarantees.
#[test]
fn every_promise_is_told_where_to_look() {
    let guide = sealfleet_iam::text("docs/guides/security-review.md").unwrap();
    let guarantees = sealfleet_iam::text("docs/reference/guarantees.md").unwrap();
    for number in 1..=12 {
        assert!(
            guarantees.contains(&format!("**G{number}**")),
            "G{number} is not in docs/reference/guarantees.md"
        );
        assert!(
            guide.contains(&format!("G{number} ")),
            "G{number} is not in docs/guides/security-review.md"
        );
    }
    for document in ["README.md", "SECURITY.md"] {
        let linked = sealfleet_iam::text(document).unwrap();
        assert!(
            linked.contains("docs/guides/security-review.md"),
            "{document} does not link the guide"
        );
    }
}
