//! What must hold of access lists: a step is given exactly the keys that they grant to its tool.
//!
//! This tells again, in other words than the product's, what a cascade comes to: from the stored
//! versions of the profiles that an identity names. A key is what the last level says of it, and
//! every list that there is must grant it to the tool. Without a list everybody sees everything;
//! with one, who is not on it sees nothing.

use std::collections::{BTreeMap, BTreeSet};

use sealfleet_domain::identity::Identity;
use sealfleet_domain::profile::{Content, Profile};
use sealfleet_domain::{ProfileRef, ToolName};

use crate::isolation::owner_of;
use crate::memory::Changed;

/// A profile's owner, name and version. The operators have no name.
type Version = (Option<&'static str>, String, u32);

/// Every version of every profile.
#[derive(Clone, Debug, Default)]
pub struct Access {
    profiles: BTreeMap<Version, Content>,
}

impl Access {
    /// Follows a changed row.
    pub fn changed(&mut self, change: &Changed) -> Option<String> {
        if !change.key.pk.ends_with("#PROFILES") {
            return None;
        }
        let item = change.after.as_ref()?.as_ref().clone();
        match serde_dynamo::aws_sdk_dynamodb_1::from_item::<Profile>(item) {
            Ok(profile) => {
                let name = profile.name.to_string();
                let version = (owner_of(&change.key.pk), name, profile.version);
                self.profiles.insert(version, profile.content);
                None
            }
            Err(error) => Some(format!("a profile cannot be read: {error}")),
        }
    }

    /// What a step of `owner` that runs `tool` may be given of an identity, if that is not `given`.
    pub fn check(
        &self,
        owner: &'static str,
        identity: &Identity,
        tool: Option<&ToolName>,
        given: &BTreeSet<String>,
    ) -> Option<String> {
        let mut keys = BTreeSet::new();
        let mut lists = Vec::new();
        for used in &identity.profiles {
            let of = match &used.profile {
                ProfileRef::System(_) => None,
                ProfileRef::Own(_) => Some(owner),
            };
            let version = (of, used.profile.name().to_string(), used.version);
            let Some(content) = self.profiles.get(&version) else {
                return Some(format!("a profile was never written: {used:?}"));
            };
            keys.retain(|key| !content.remove.contains(key));
            keys.extend(content.secrets.keys().cloned());
            lists.extend(&content.tools);
        }
        keys.retain(|key| !identity.overrides.remove.contains(key));
        for list in lists {
            let mut own = list.iter().filter(|(listed, _)| Some(*listed) == tool);
            let granted = own.next().map(|(_, granted)| granted);
            let granted = |key: &str| granted.is_some_and(|granted| granted.contains(key));
            keys.retain(|key| granted(key) || granted("*"));
        }
        (keys != *given).then(|| {
            format!("the tool {tool:?} of {owner} is given {given:?}, its lists grant {keys:?}")
        })
    }
}
