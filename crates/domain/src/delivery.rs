//! How the value of a secret reaches the work of a step.
//!
//! A profile says it for each of its keys: in an environment variable, in a file, or not at all.
//! With [`Delivery::Egress`] the sandbox holds a placeholder, and the step's egress proxy puts the
//! value into the requests that its [`AtEgress`] names. Then whoever talks a program into giving
//! its key away gets nothing.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::egress::{Binding, Policy, Rule, Rules};
use crate::limits;

/// How the value of one secret is delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// In the environment variable of its name.
    #[default]
    Env,
    /// In a file that only the step can read; the variable holds its path.
    File,
    /// By the egress proxy, to some hosts alone; the variable holds a placeholder.
    Egress(AtEgress),
}

/// The ways of delivery, from the most open one to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "DeliveryKind"))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Env,
    File,
    Egress,
}

/// What a secret that is delivered at egress is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "DeliveryAtEgress"))]
#[serde(deny_unknown_fields)]
pub struct AtEgress {
    /// Where requests get the value.
    #[cfg_attr(feature = "openapi", schemars(length(min = 1, max = limits::EGRESS_BINDINGS)))]
    pub to: Vec<Binding>,
    /// How a request carries it.
    #[serde(default, skip_serializing_if = "How::is_header")]
    pub how: How,
    /// What its placeholder begins with, for programs that look at the form of a key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[cfg_attr(
        feature = "openapi",
        schemars(regex(pattern = "^[A-Za-z0-9_.-]{0,32}$"))
    )]
    pub prefix: String,
}

/// How a request carries a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "openapi", schemars(rename = "DeliveryHow"))]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// In header fields, in the place of the placeholder.
    #[default]
    Header,
    /// As the secret access key of its signature (Signature Version 4).
    Sigv4(Sigv4),
}

/// Which signatures a secret access key makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sigv4 {
    /// The access key id of the signature, or the variable that holds it: a plain one, or another
    /// secret that is delivered at egress.
    #[cfg_attr(
        feature = "openapi",
        schemars(regex(pattern = "^[A-Za-z0-9_]{1,128}$"))
    )]
    pub access_key_id: String,
}

impl Delivery {
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Env => Kind::Env,
            Self::File => Kind::File,
            Self::Egress(_) => Kind::Egress,
        }
    }

    /// Whether it is the usual one.
    #[must_use]
    pub fn is_env(&self) -> bool {
        *self == Self::Env
    }

    /// Where the value goes, if it is delivered at egress.
    #[must_use]
    pub const fn at_egress(&self) -> Option<&AtEgress> {
        match self {
            Self::Egress(bound) => Some(bound),
            Self::Env | Self::File => None,
        }
    }

    /// Checks what somebody wrote.
    ///
    /// # Errors
    /// What is wrong and how to fix it; for people.
    pub fn check(&self) -> Result<(), String> {
        self.at_egress().map_or(Ok(()), AtEgress::check)
    }
}

impl Kind {
    /// As profiles and labels write it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Env => "env",
            Self::File => "file",
            Self::Egress => "egress",
        }
    }
}

/// `env`, `file`, or `egress to` its hosts.
impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().text())?;
        let Some(bound) = self.at_egress() else {
            return Ok(());
        };
        let to: Vec<String> = bound.to.iter().map(|to| rule(to).to_string()).collect();
        write!(f, " to {}", to.join(", "))?;
        match &bound.how {
            How::Header => Ok(()),
            How::Sigv4(by) => write!(f, " signed as {}", by.access_key_id),
        }
    }
}

impl AtEgress {
    fn check(&self) -> Result<(), String> {
        if self.to.is_empty() {
            return Err("`to` names no host; a value that no host gets is of no use".to_owned());
        }
        if self.to.len() > limits::EGRESS_BINDINGS {
            return Err(format!(
                "`to` has {} hosts at most",
                limits::EGRESS_BINDINGS
            ));
        }
        if self.to.iter().any(|binding| binding.port == 0) {
            return Err("a port is a number from 1 to 65535".to_owned());
        }
        let in_prefix = |c: u8| c.is_ascii_alphanumeric() || b"_.-".contains(&c);
        if self.prefix.len() > 32 || !self.prefix.bytes().all(in_prefix) {
            return Err(
                "`prefix` has 32 characters at most: letters, digits, `_`, `.` and `-`".to_owned(),
            );
        }
        let How::Sigv4(by) = &self.how else {
            return Ok(());
        };
        let in_id = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
        let id = by.access_key_id.as_bytes();
        if (1..=128).contains(&id.len()) && id.iter().copied().all(in_id) {
            Ok(())
        } else {
            Err("`access_key_id` is an access key id, or the variable that holds it".to_owned())
        }
    }

    /// Whether a step with this policy can reach any of its hosts.
    #[must_use]
    pub fn is_reached(&self, policy: &Policy) -> bool {
        self.to.iter().any(|binding| {
            let alone = Policy::Allow(Rules::of([rule(binding)]));
            // What is too large to be written down is not nothing.
            !matches!(policy.narrowed_by(&alone), Ok(Policy::None))
        })
    }
}

/// The widest rule of a policy that a binding is within.
fn rule(binding: &Binding) -> Rule {
    Rule {
        host: binding.host.clone(),
        port: binding.port,
        methods: None,
        paths: binding.path.clone().map(|path| BTreeSet::from([path])),
    }
}

impl How {
    fn is_header(&self) -> bool {
        *self == Self::Header
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(json: serde_json::Value) -> Result<Delivery, String> {
        let delivery: Delivery = serde_json::from_value(json).map_err(|error| error.to_string())?;
        delivery.check().map(|()| delivery)
    }

    #[test]
    fn what_is_written_is_read_back_and_shown() {
        for (written, shown) in [
            (json!("env"), "env"),
            (json!("file"), "file"),
            (
                json!({ "egress": { "to": [{ "host": "api.anthropic.com" }], "prefix": "sk-ant-" } }),
                "egress to api.anthropic.com:443",
            ),
            (
                json!({ "egress": {
                    "to": [{ "host": "*.amazonaws.com" }, { "host": "::1", "port": 9000, "path": "/b/*" }],
                    "how": { "sigv4": { "access_key_id": "AKIDEXAMPLE" } },
                } }),
                "egress to *.amazonaws.com:443, [::1]:9000 /b/* signed as AKIDEXAMPLE",
            ),
        ] {
            let delivery = read(written.clone()).expect("a delivery");
            assert_eq!(serde_json::to_value(&delivery).expect("json"), written);
            assert_eq!(delivery.to_string(), shown);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let to = |host: serde_json::Value| json!({ "egress": { "to": [host] } });
        for wrong in [
            json!("header"),
            json!({ "egress": {} }),
            json!({ "egress": { "to": [] } }),
            to(json!({ "host": "https://a.example" })),
            to(json!({ "host": "a.example", "port": 0 })),
            to(json!({ "host": "a.example", "path": "v1" })),
            to(json!({ "host": "a.example", "path": "/v1/../admin" })),
            to(json!({ "host": "a.example", "path": "/v1%2fadmin" })),
            to(json!({ "host": "a.example", "path": "/v1?x" })),
            json!({ "egress": { "to": [{ "host": "a.example" }], "prefix": "a b" } }),
            json!({ "egress": { "to": [{ "host": "a.example" }], "how": { "sigv4": { "access_key_id": "" } } } }),
            json!({ "egress": { "to": [{ "host": "a.example" }], "how": "query" } }),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_binding_is_reached_where_policies_meet_it() {
        let binding = |host: &str| {
            let read = read(json!({ "egress": { "to": [{ "host": host }] } }));
            read.expect("a delivery")
                .at_egress()
                .expect("bound")
                .clone()
        };
        let policy = |hosts: &[&str]| {
            let rules: Vec<_> = hosts.iter().map(|host| json!({ "host": host })).collect();
            serde_json::from_value(json!({ "allow": rules })).expect("a policy")
        };
        for (host, allowed, is_reached) in [
            ("a.example", policy(&["a.example"]), true),
            ("a.example", policy(&["*.example"]), true),
            ("*.example", policy(&["a.example", "b.test"]), true),
            ("a.example", Policy::Open, true),
            ("a.example", policy(&["b.example"]), false),
            ("a.example", Policy::None, false),
        ] {
            assert_eq!(binding(host).is_reached(&allowed), is_reached, "{host}");
        }
    }
}
