//! The template routes exactly the operations, each to its function.

use std::collections::BTreeMap;

use sealfleet_api::operations::{self, Credential};

use crate::repository::{Route, routes};

#[test]
fn the_template_routes_exactly_the_operations() {
    let mut routed = routes();
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
