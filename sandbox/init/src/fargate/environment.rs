//! This process's own environment.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::DirBuilderExt as _;

use rustix::fs::{Access, access};
use sealfleet_identity::SecretValue;

use crate::supervise;

/// Where a command has its home, if its image names none that it can write to.
const HOME: &str = "/workspace/home";

/// Variables that the command gets, so that it can use its task role.
const TASK_ROLE: [&str; 3] = [
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
];
/// Variables that say where it is.
const REGION: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];

/// Variables; their values may be secrets.
pub(super) struct Environment(BTreeMap<String, SecretValue>);

impl Environment {
    pub(super) fn new(variables: Vec<(OsString, OsString)>) -> Self {
        let named = variables.into_iter().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, SecretValue::new(value.into_vec())))
        });
        Self(named.collect())
    }

    /// A variable that is not a secret.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.0.get(name)?.expose())
            .ok()
            .filter(|text| !text.is_empty())
    }

    /// Takes a secret out of it.
    pub(super) fn take(&mut self, name: &str) -> Option<SecretValue> {
        self.0.remove(name)
    }

    /// A home that the command can write to: the image's, or one of its own.
    pub(super) fn home(&self) -> String {
        let writable = |home: &&str| access(*home, Access::WRITE_OK).is_ok();
        if let Some(home) = self.text("HOME").filter(writable) {
            return home.to_owned();
        }
        // Not there yet, unless the image has it.
        let made = DirBuilder::new().mode(0o700).create(HOME);
        let is_there = made.is_ok() || writable(&HOME);
        let home = if is_there { HOME } else { "/tmp" };
        home.to_owned()
    }

    /// What the command is told of AWS: the region, and where the credentials of the task role are
    /// if it can reach them.
    pub(super) fn aws(&self, reaches_role: bool) -> impl Iterator<Item = (String, SecretValue)> {
        let role = TASK_ROLE.iter().filter(move |_| reaches_role);
        let all = role.chain(&REGION);
        all.filter_map(|name| Some(supervise::plain(*name, self.text(name)?)))
    }

    pub(super) fn needed(&self, name: &str) -> Result<String, String> {
        self.text(name)
            .map(str::to_owned)
            .ok_or_else(|| format!("the environment variable `{name}` is missing"))
    }
}
