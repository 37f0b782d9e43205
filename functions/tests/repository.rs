//! The repository's own files that tests compare with the code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// The folders of `functions/` that are functions.
pub fn functions() -> BTreeSet<String> {
    let folders = root().join("functions").read_dir().unwrap();
    folders
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("mod.rs").exists())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != "shared")
        .collect()
}

/// A route of the template.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    pub function: String,
    /// Whether API Gateway asks for an IAM signature.
    pub signed: bool,
}

/// The template's routes by their keys, read as text: it holds tags that are not plain YAML.
pub fn routes() -> BTreeMap<String, Route> {
    let template = std::fs::read_to_string(root().join("infra/sam/template.yaml")).unwrap();
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
            let function = target.to_lowercase();
            routes.insert(key.take().unwrap(), Route { function, signed });
        }
    }
    assert!(!routes.is_empty(), "the template has no route");
    routes
}
