//! What the policies of a session let it read.

use std::collections::BTreeMap;

use sealfleet_identity::Readable;
use serde::Deserialize;

/// What every session may do, by the policy `default`.
const USUAL: [&str; 4] = ["auth/token/", "cubbyhole/", "identity/", "sys/"];
/// What a KV store of version 2 puts between its mount and a path.
const OF_KV: [&str; 2] = ["data", "metadata"];

#[derive(Deserialize)]
pub(crate) struct Permitted {
    pub data: Paths,
}

#[derive(Deserialize)]
pub(crate) struct Paths {
    #[serde(default)]
    exact_paths: BTreeMap<String, Access>,
    #[serde(default)]
    glob_paths: BTreeMap<String, Access>,
    #[serde(default)]
    root: bool,
}

#[derive(Deserialize)]
struct Access {
    capabilities: Vec<String>,
}

impl Paths {
    /// The paths that it may read, and which of them are not below the project or `system`.
    pub fn readable(&self, project: &str) -> Vec<Readable> {
        let exact = self.exact_paths.iter();
        let exact = exact.map(|(path, access)| (path.clone(), access));
        let globs = self.glob_paths.iter();
        let globs = globs.map(|(path, access)| (format!("{path}*"), access));
        let is_read = |access: &Access| access.capabilities.iter().any(|one| one == "read");
        let of_store = |path: &str| !USUAL.iter().any(|usual| path.starts_with(usual));
        let mut all: Vec<Readable> = exact
            .chain(globs)
            .filter(|(path, access)| is_read(access) && of_store(path))
            .map(|(name, _)| Readable {
                is_foreign: !is_owned(&name, project),
                name,
            })
            .collect();
        if self.root {
            let name = "*".to_owned();
            all.push(Readable {
                name,
                is_foreign: true,
            });
        }
        all
    }
}

/// Whether all of it is below `MOUNT/PROJECT/` or `MOUNT/system/`, as references name it.
fn is_owned(path: &str, project: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    let first = parts.next();
    let owner = match first {
        Some(part) if OF_KV.contains(&part) => parts.next(),
        first => first,
    };
    let is_below = parts.next().is_some();
    is_below && owner.is_some_and(|owner| owner == project || owner == "system")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_below_the_project_is_foreign() {
        for (path, is_own) in [
            ("kv/data/healthcare/*", true),
            ("kv/data/healthcare/crm", true),
            ("kv/data/system/*", true),
            ("rabbitmq/healthcare/creds/*", true),
            ("kv/data/healthcare*", false),
            ("kv/data/healthcare-2/*", false),
            ("kv/data/*", false),
            ("kv/*", false),
            ("kv/data/+/crm", false),
            ("*", false),
        ] {
            assert_eq!(is_owned(path, "healthcare"), is_own, "{path}");
        }
    }
}
