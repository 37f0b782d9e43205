//! One policy, evaluated.
//!
//! The rules are those of the IAM user guide, "Policy evaluation logic": an explicit Deny wins,
//! else an Allow, else it is denied. Only what the templates use is known here; an element,
//! operator or variable beyond that is an error, never a guess. ARNs are matched so that a doubt
//! falls to the safe side: an Allow's pattern matches as plain text, so that `*` also crosses
//! colons; a Deny's matches part by part.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What a request carries besides its action and resource, by condition key in lower case.
pub type Context = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Some statement allows it and none denies it.
    Allowed,
    /// A statement denies it: its Sid, or what it is about.
    Denied(String),
    /// No statement speaks of it.
    NotAllowed,
}

#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub statements: Vec<Statement>,
}

#[derive(Clone, Debug)]
pub struct Statement {
    /// Its Sid; empty for none.
    pub sid: String,
    pub allow: bool,
    pub actions: Match,
    /// Which resources. None in a trust policy.
    pub resources: Option<Match>,
    /// Whom, in a policy of a resource or a trust policy: (`AWS` or `Service`, name).
    pub principals: Option<Vec<(String, String)>>,
    pub conditions: Vec<Condition>,
}

/// Patterns to match, or to match none of.
#[derive(Clone, Debug)]
pub struct Match {
    /// `NotAction`, `NotResource`.
    pub not: bool,
    /// With `*` and `?`.
    pub patterns: Vec<String>,
}

/// One condition: an operator, a key, values.
#[derive(Clone, Debug)]
pub struct Condition {
    pub operator: Operator,
    /// Whether it holds when the request lacks the key: `...IfExists` and `ForAllValues:...` do,
    /// `ForAnyValue:...` does not, and of the others those that ask for a difference.
    pub without_key: bool,
    /// The key, in lower case.
    pub key: String,
    /// What to compare with.
    pub values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `StringEquals`, `Bool`.
    Equals,
    /// `StringNotEquals`.
    NotEquals,
    /// `StringLike`, and `ArnEquals` and `ArnLike`, which AWS treats alike.
    Like,
    /// `StringNotLike`, `ArnNotEquals`, `ArnNotLike`.
    NotLike,
    /// `Null`.
    Null,
}

#[derive(Clone, Debug)]
pub struct Request {
    /// `service:Action`.
    pub action: String,
    /// An ARN, or `*` for an action that AWS authorises on no resource.
    pub resource: String,
    pub context: Context,
}

/// Whether `text` matches `pattern`, in which `*` stands for any text and `?` for any character.
pub fn like(pattern: &str, text: &str) -> bool {
    alike(pattern, text, |wanted, found| wanted == found)
}

fn alike(pattern: &str, text: &str, same: fn(&u8, &u8) -> bool) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    // The usual greedy match: on a mismatch, let the last star take one more.
    let (mut p, mut t, mut back) = (0, 0, None);
    while let Some(character) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p, t));
                p += 1;
            }
            Some(wanted) if *wanted == b'?' || same(wanted, character) => {
                p += 1;
                t += 1;
            }
            _ => match back {
                None => return false,
                Some((star, from)) => {
                    back = Some((star, from + 1));
                    p = star + 1;
                    t = from + 1;
                }
            },
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|character| *character == b'*'))
}

/// Whether all that `inner` matches is matched by `outer`. That is so when `outer` matches the text
/// of `inner`: only a star can match a star. Patterns with `?` are not compared: the answer is no.
pub fn within(inner: &str, outer: &str) -> bool {
    !inner.contains('?') && !outer.contains('?') && like(outer, inner)
}

/// As [`like`], for a Deny: the five parts before the resource each by themselves.
fn like_by_parts(pattern: &str, text: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let parts = |text: &str| text.splitn(6, ':').map(str::to_owned).collect::<Vec<_>>();
    let (pattern, text) = (parts(pattern), parts(text));
    pattern.len() == text.len()
        && pattern
            .iter()
            .zip(&text)
            .all(|(pattern, text)| like(pattern, text))
}

impl Policy {
    /// Reads a document whose functions are resolved.
    pub fn parse(document: &Value) -> Result<Self, String> {
        let statements = match &document["Statement"] {
            Value::Array(statements) => statements.iter().collect(),
            Value::Object(_) => vec![&document["Statement"]],
            _ => return Err("a policy without statements".to_owned()),
        };
        if document["Version"] != "2012-10-17" {
            return Err("a policy without `Version: \"2012-10-17\"`".to_owned());
        }
        Ok(Self {
            statements: statements
                .into_iter()
                .map(Statement::parse)
                .collect::<Result<_, _>>()?,
        })
    }

    /// What it says of `request`, made by `principal` where the policy names principals.
    pub fn decide(&self, request: &Request, principal: Option<(&str, &str)>) -> Decision {
        let applies = |statement: &&Statement| statement.applies(request, principal);
        if let Some(statement) = self
            .statements
            .iter()
            .filter(|statement| !statement.allow)
            .find(applies)
        {
            return Decision::Denied(statement.sid.clone());
        }
        if self
            .statements
            .iter()
            .filter(|statement| statement.allow)
            .any(|statement| applies(&statement))
        {
            Decision::Allowed
        } else {
            Decision::NotAllowed
        }
    }
}

impl Statement {
    fn parse(statement: &Value) -> Result<Self, String> {
        let fields = statement
            .as_object()
            .ok_or("a statement that is no object")?;
        let sid = statement["Sid"].as_str().unwrap_or_default().to_owned();
        let wrong = |what: &str| format!("statement `{sid}`: {what}");
        const KNOWN: [&str; 8] = [
            "Sid",
            "Effect",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Principal",
            "Condition",
        ];
        if let Some(field) = fields.keys().find(|field| !KNOWN.contains(&field.as_str())) {
            return Err(wrong(&format!("`{field}` is not evaluated here")));
        }
        let allow = match statement["Effect"].as_str() {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => return Err(wrong("no effect")),
        };
        let actions =
            Match::parse(fields, "Action", "NotAction")?.ok_or_else(|| wrong("no action"))?;
        if allow && actions.not {
            return Err(wrong(
                "an Allow with `NotAction` allows what nobody wrote down",
            ));
        }
        let resources = Match::parse(fields, "Resource", "NotResource")?;
        for pattern in resources.iter().flat_map(|resources| &resources.patterns) {
            if pattern != "*" && (pattern.contains("${") || pattern.splitn(6, ':').count() < 6) {
                return Err(wrong(&format!("the resource `{pattern}` is no ARN")));
            }
        }
        if allow && resources.as_ref().is_some_and(|resources| resources.not) {
            return Err(wrong(
                "an Allow with `NotResource` allows what nobody wrote down",
            ));
        }
        let principals = match &statement["Principal"] {
            Value::Null => None,
            Value::String(any) if any == "*" => Some(vec![("*".to_owned(), "*".to_owned())]),
            Value::Object(kinds) => {
                let mut principals = Vec::new();
                for (kind, names) in kinds {
                    if !["AWS", "Federated", "Service"].contains(&kind.as_str()) {
                        return Err(wrong(&format!(
                            "principals of the kind `{kind}` are not evaluated here"
                        )));
                    }
                    principals.extend(texts(names)?.into_iter().map(|name| (kind.clone(), name)));
                }
                Some(principals)
            }
            _ => return Err(wrong("a principal that is none")),
        };
        let mut conditions = Vec::new();
        for (operator, keys) in statement["Condition"].as_object().into_iter().flatten() {
            // Keys have one value here, or none.
            let (name, without_key) = if let Some(name) = operator.strip_suffix("IfExists") {
                (name, Some(true))
            } else if let Some(name) = operator.strip_prefix("ForAllValues:") {
                (name, Some(true))
            } else if let Some(name) = operator.strip_prefix("ForAnyValue:") {
                (name, Some(false))
            } else {
                (operator.as_str(), None)
            };
            let known = match name {
                "StringEquals" | "Bool" => Operator::Equals,
                "StringNotEquals" => Operator::NotEquals,
                "StringLike" | "ArnEquals" | "ArnLike" => Operator::Like,
                "StringNotLike" | "ArnNotEquals" | "ArnNotLike" => Operator::NotLike,
                "Null" if without_key.is_none() => Operator::Null,
                _ => {
                    return Err(wrong(&format!(
                        "the operator `{operator}` is not evaluated here"
                    )));
                }
            };
            for (key, values) in keys
                .as_object()
                .ok_or_else(|| wrong("a condition without keys"))?
            {
                let values = texts(values)?;
                if values.is_empty() || values.iter().any(|value| value.contains("${")) {
                    return Err(wrong(&format!(
                        "the values of `{key}` are not evaluated here"
                    )));
                }
                let key = key.to_ascii_lowercase();
                let negated = matches!(known, Operator::NotEquals | Operator::NotLike);
                conditions.push(Condition {
                    operator: known,
                    without_key: without_key.unwrap_or(negated),
                    key,
                    values,
                });
            }
        }
        Ok(Self {
            sid,
            allow,
            actions,
            resources,
            principals,
            conditions,
        })
    }

    /// Whether it speaks of this request.
    pub fn applies(&self, request: &Request, principal: Option<(&str, &str)>) -> bool {
        let whom = match (&self.principals, principal) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(named), Some((kind, name))) => named
                .iter()
                .any(|(k, n)| n == "*" || (k == kind && (n == name || names_account_of(n, name)))),
        };
        let actions = self
            .actions
            .holds(|pattern| alike(pattern, &request.action, u8::eq_ignore_ascii_case));
        let resources = self.resources.as_ref().is_none_or(|resources| {
            resources.holds(|pattern| match self.allow {
                true => like(pattern, &request.resource),
                // `NotResource`: to err to the safe side is to match more of what is spared.
                false if resources.not => like(pattern, &request.resource),
                false => like_by_parts(pattern, &request.resource),
            })
        });
        whom && actions
            && resources
            && self
                .conditions
                .iter()
                .all(|condition| condition.holds(request, principal))
    }
}

/// `arn:aws:iam::ACCOUNT:root` and `ACCOUNT` name all principals of the account.
fn names_account_of(named: &str, principal: &str) -> bool {
    let account = named
        .strip_suffix(":root")
        .and_then(|arn| arn.rsplit(':').next())
        .unwrap_or(named);
    account.len() == 12 && principal.split(':').nth(4) == Some(account)
}

impl Match {
    fn parse(fields: &Map<String, Value>, yes: &str, no: &str) -> Result<Option<Self>, String> {
        match (fields.get(yes), fields.get(no)) {
            (Some(patterns), None) => Ok(Some(Self {
                not: false,
                patterns: texts(patterns)?,
            })),
            (None, Some(patterns)) => Ok(Some(Self {
                not: true,
                patterns: texts(patterns)?,
            })),
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(format!("both `{yes}` and `{no}`")),
        }
    }

    fn holds(&self, matches: impl Fn(&str) -> bool) -> bool {
        self.patterns.iter().any(|pattern| matches(pattern)) != self.not
    }
}

impl Condition {
    fn holds(&self, request: &Request, principal: Option<(&str, &str)>) -> bool {
        let held = match (self.key.as_str(), principal) {
            ("aws:principalarn", Some(("AWS", arn))) => Some(arn),
            ("aws:principalaccount", Some(("AWS", arn))) => arn.split(':').nth(4),
            (key, _) => request.context.get(key).map(String::as_str),
        };
        let is = |value: &String| held == Some(value);
        let like_it = |value: &String| held.is_some_and(|held| like(value, held));
        match self.operator {
            Operator::Null => self
                .values
                .iter()
                .any(|wanted| (wanted == "true") != held.is_some()),
            _ if held.is_none() => self.without_key,
            Operator::Equals => self.values.iter().any(is),
            Operator::NotEquals => !self.values.iter().any(is),
            Operator::Like => self.values.iter().any(like_it),
            Operator::NotLike => !self.values.iter().any(like_it),
        }
    }
}

/// A text or a list of texts; booleans and numbers as text.
fn texts(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(values) => values
            .iter()
            .map(texts)
            .try_fold(Vec::new(), |mut all, some| {
                all.extend(some?);
                Ok(all)
            }),
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Bool(_) | Value::Number(_) => Ok(vec![value.to_string()]),
        _ => Err(format!("not a text: {value}")),
    }
}
