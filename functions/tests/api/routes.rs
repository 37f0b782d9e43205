//! The template routes exactly the operations, each to its function.

use std::collections::BTreeMap;
use std::path::Path;

use sealfleet_api::operations::{self, Credential};

/// A route of the template.
#[derive(Debug, PartialEq, Eq)]
struct Route {
    function: String,
    signed: bool,
}

fn template() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("infra/sam/template.yaml");
    std::fs::read_to_string(path).unwrap()
}

/// The routes by their keys, as text: the template's own functions are not plain YAML.
fn routed() -> BTreeMap<String, Route> {
    let template = template();
    let mut routes = BTreeMap::new();
    let (mut key, mut signed) = (None, false);
    for line in template.lines().map(str::trim) {
        if let Some(route) = line.strip_prefix("RouteKey: ") {
            (key, signed) = (Some(route.to_owned()), false);
        }
        signed |= line == "AuthorizationType: AWS_IAM";
        let target = line
            .strip_prefix("Target: !Sub integrations/${")
            .and_then(|rest| rest.strip_suffix("Integration}"));
        if let Some(target) = target {
            routes.insert(
                key.take().unwrap(),
                Route {
                    function: target.to_lowercase(),
                    signed,
                },
            );
        }
    }
    routes
}

#[test]
fn the_template_routes_exactly_the_operations() {
    let mut routed = routed();
    // What no operation takes is answered by the function that shows the document.
    assert_eq!(
        routed.remove("$default"),
        Some(Route {
            function: "openapi".to_owned(),
            signed: false
        })
    );
    let described: BTreeMap<String, Route> = operations::all()
        .map(|operation| {
            let signed = operation.credential == Credential::TaskRole;
            let route = Route {
                function: operation.function.to_owned(),
                signed,
            };
            (format!("{} {}", operation.method, operation.path), route)
        })
        .collect();
    for (key, route) in &described {
        let Some(there) = routed.get(key) else {
            panic!("infra/sam/template.yaml has no route `{key}`")
        };
        assert_eq!(
            there, route,
            "`{key}` in infra/sam/template.yaml, and in crates/api/src/operations.rs"
        );
    }
    for key in routed.keys() {
        assert!(
            described.contains_key(key),
            "crates/api/src/operations.rs has no operation `{key}`"
        );
    }
}
