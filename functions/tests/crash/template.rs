//! What the template and the folders say there is: functions, and their routes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folders of `functions/` that are functions.
pub fn functions() -> BTreeSet<String> {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).read_dir().unwrap().map(|entry| entry.unwrap());
    folders
        .filter(|entry| entry.path().join("mod.rs").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "shared")
        .collect()
}

/// Each route of the template with its function.
pub fn routes() -> BTreeMap<String, String> {
    let template = std::fs::read_to_string(repository().join("infra/sam/template.yaml")).unwrap();
    let mut routes = BTreeMap::new();
    let mut key = None;
    for line in template.lines().map(str::trim) {
        if let Some(route) = line.strip_prefix("RouteKey: ") {
            key = Some(route.to_owned());
        }
        let target =
            line.strip_prefix("Target: !Sub integrations/${").and_then(|rest| rest.strip_suffix("Integration}"));
        if let Some(target) = target {
            routes.insert(key.take().unwrap(), target.to_lowercase());
        }
    }
    assert!(!routes.is_empty(), "no route was found in the template");
    routes
}
