//! Asks Cedar every question there is.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use cedar_policy::{
    Authorizer, Context, Decision, Effect, Entities, Entity, EntityUid, Policy, PolicyId,
    PolicySet, Request, RestrictedExpression, Schema, ValidationMode, Validator,
};
use sealfleet_domain::access::{Action, Kind, Place};
use sha2::{Digest as _, Sha256};

/// Why the policies decide nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("`{path}` cannot be read: {source}")]
    File {
        path: String,
        source: std::io::Error,
    },
    /// The schema or a policy is not well-formed.
    #[error("`{file}`: {reason}")]
    Malformed { file: String, reason: String },
    /// The policies do not fit the schema.
    #[error("the policies do not fit their schema: {0}")]
    Invalid(String),
    /// A question could not be answered.
    #[error("{question:?}: {reason}")]
    Unanswered { question: Question, reason: String },
}

/// May a principal of this kind do this here? No action is: may it know of the thing?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    pub kind: Kind,
    /// What; to know of it if none.
    pub action: Option<Action>,
    pub place: Place,
}

/// The schema, and policies that fit it.
pub struct Policies {
    schema: Schema,
    set: PolicySet,
    hash: String,
}

/// What the policies permit.
pub struct Answers(Vec<(Question, bool)>);

impl Question {
    pub fn all() -> impl Iterator<Item = Self> {
        let actions = || std::iter::once(None).chain(Action::ALL.iter().copied().map(Some));
        Kind::ALL.into_iter().flat_map(move |kind| {
            Place::ALL.into_iter().flat_map(move |place| {
                actions().map(move |action| Self {
                    kind,
                    action,
                    place,
                })
            })
        })
    }
}

impl Answers {
    /// Whether this is permitted.
    pub fn may(&self, kind: Kind, action: Option<Action>, place: Place) -> bool {
        self.0.contains(&(
            Question {
                kind,
                action,
                place,
            },
            true,
        ))
    }

    /// What is permitted, in the order of the actions.
    pub fn allowed(&self, kind: Kind, place: Place) -> Vec<Action> {
        Action::ALL
            .iter()
            .copied()
            .filter(|action| self.may(kind, Some(*action), place))
            .collect()
    }
}

impl PartialEq for Answers {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Policies {
    /// Reads the schema and the policies of a directory, and validates them strictly.
    pub fn load(directory: &Path) -> Result<Self, Error> {
        let failed = |path: &Path, source| Error::File {
            path: path.display().to_string(),
            source,
        };
        let mut files = Vec::new();
        for file in std::fs::read_dir(directory).map_err(|source| failed(directory, source))? {
            files.push(file.map_err(|source| failed(directory, source))?.path());
        }
        files.sort();
        let mut texts = BTreeMap::new();
        let mut hash = Sha256::new();
        for path in &files {
            let text = std::fs::read_to_string(path).map_err(|source| failed(path, source))?;
            hash.update(text.as_bytes());
            texts.insert(
                path.file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
                text,
            );
        }
        let hash = hash
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Self::of(&texts, hash)
    }

    fn of(texts: &BTreeMap<String, String>, hash: String) -> Result<Self, Error> {
        let malformed = |file: &str, reason: String| Error::Malformed {
            file: file.to_owned(),
            reason,
        };
        let mut policies = Vec::new();
        let mut schema = String::new();
        for (file, text) in texts {
            if !file.ends_with(".cedar") {
                schema.push_str(text);
                continue;
            }
            let set: PolicySet = text
                .parse()
                .map_err(|error| malformed(file, format!("{error:?}")))?;
            for policy in set.policies() {
                let id = policy
                    .annotation("id")
                    .filter(|_| policy.annotation("description").is_some());
                let id = id.ok_or_else(|| {
                    malformed(file, format!("without @id or @description: {policy}"))
                })?;
                policies.push(policy.new_id(PolicyId::new(id)));
            }
        }
        let (schema, warnings) = Schema::from_cedarschema_str(&schema)
            .map_err(|error| Error::Invalid(format!("{error:?}")))?;
        if let Some(warning) = warnings.into_iter().next() {
            return Err(Error::Invalid(warning.to_string()));
        }
        Self::checked(schema, policies, hash)
    }

    fn checked(schema: Schema, policies: Vec<Policy>, hash: String) -> Result<Self, Error> {
        // Two policies of one name are an error here.
        let set = PolicySet::from_policies(policies)
            .map_err(|error| Error::Invalid(error.to_string()))?;
        let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        let complaints: Vec<String> = result
            .validation_errors()
            .map(ToString::to_string)
            .chain(result.validation_warnings().map(ToString::to_string))
            .collect();
        if complaints.is_empty() {
            Ok(Self { schema, set, hash })
        } else {
            Err(Error::Invalid(complaints.join("; ")))
        }
    }

    /// SHA-256 of the files, one after another.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Name, effect (whether it permits) and description of each policy, by name.
    pub fn described(&self) -> Vec<(String, bool, String)> {
        let mut described: Vec<_> = self
            .set
            .policies()
            .map(|policy| {
                let text = policy
                    .annotation("description")
                    .unwrap_or_default()
                    .to_owned();
                (
                    policy.id().to_string(),
                    policy.effect() == Effect::Permit,
                    text,
                )
            })
            .collect();
        described.sort();
        described
    }

    /// The same policies without one.
    pub fn without(&self, id: &str) -> Result<Self, Error> {
        let rest = self
            .set
            .policies()
            .filter(|policy| policy.id().to_string() != id)
            .cloned()
            .collect();
        Self::checked(self.schema.clone(), rest, self.hash.clone())
    }

    /// The same policies and one that permits everything to everybody.
    pub fn wide_open(&self) -> Result<Self, Error> {
        let all = Policy::parse(
            Some(PolicyId::new("everything")),
            "permit (principal, action, resource);",
        )
        .map_err(|error| Error::Invalid(error.to_string()))?;
        let policies = self.set.policies().cloned().chain([all]).collect();
        Self::checked(self.schema.clone(), policies, self.hash.clone())
    }

    /// The names of the schema's actions, sorted.
    pub fn actions(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .schema
            .actions()
            .map(|action| action.id().unescaped().to_owned())
            .collect();
        names.sort();
        names
    }

    pub fn answers(&self) -> Result<Answers, Error> {
        let entities = self.entities().map_err(Error::Invalid)?;
        let asked = Question::all().map(|question| {
            let answer = self
                .ask(question, &entities)
                .map_err(|reason| Error::Unanswered { question, reason })?;
            Ok((question, answer))
        });
        asked.collect::<Result<_, Error>>().map(Answers)
    }

    fn ask(&self, question: Question, entities: &Entities) -> Result<bool, String> {
        let principal = principal_uid(question.kind)?;
        let action = uid("Action", question.action.map_or("KnowOf", Action::name))?;
        let resource = match question.place {
            Place::Platform => uid("Platform", "platform")?,
            Place::System => uid("System", "system")?,
            Place::Project => uid("Project", "own")?,
            Place::AnotherProject => uid("Project", "another")?,
        };
        // What the schema does not foresee, no policy can permit.
        let Ok(request) = Request::new(
            principal,
            action,
            resource,
            Context::empty(),
            Some(&self.schema),
        ) else {
            return Ok(false);
        };
        let response = Authorizer::new().is_authorized(&request, &self.set, entities);
        // A policy that fails is left out by Cedar: a forbid that fails would forbid nothing.
        let errors: Vec<String> = response
            .diagnostics()
            .errors()
            .map(ToString::to_string)
            .collect();
        if errors.is_empty() {
            Ok(response.decision() == Decision::Allow)
        } else {
            Err(errors.join("; "))
        }
    }

    fn entities(&self) -> Result<Entities, String> {
        let mut entities = vec![plain("Project", "own")?, plain("Project", "another")?];
        for kind in Kind::ALL {
            let attributes = if kind == Kind::Operator {
                HashMap::new()
            } else {
                HashMap::from([(
                    "project".to_owned(),
                    RestrictedExpression::new_entity_uid(uid("Project", "own")?),
                )])
            };
            let parents = principal(kind)
                .1
                .map(|role| uid("Role", role))
                .transpose()?
                .into_iter()
                .collect();
            entities.push(
                Entity::new(principal_uid(kind)?, attributes, parents)
                    .map_err(|error| error.to_string())?,
            );
        }
        Entities::from_entities(entities, Some(&self.schema)).map_err(|error| format!("{error:?}"))
    }
}

fn plain(kind: &str, id: &str) -> Result<Entity, String> {
    Entity::new(uid(kind, id)?, HashMap::new(), HashSet::new()).map_err(|error| error.to_string())
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    format!("{kind}::\"{id}\"")
        .parse()
        .map_err(|error| format!("{error:?}"))
}

/// The entity type that stands for a kind, and its role.
const fn principal(kind: Kind) -> (&'static str, Option<&'static str>) {
    match kind {
        Kind::Operator => ("Operator", None),
        Kind::TokenAdmin => ("Token", Some("admin")),
        Kind::TokenMember => ("Token", Some("member")),
        Kind::TokenViewer => ("Token", Some("viewer")),
        Kind::OidcAdmin => ("OidcCaller", Some("admin")),
        Kind::OidcMember => ("OidcCaller", Some("member")),
        Kind::OidcViewer => ("OidcCaller", Some("viewer")),
        Kind::Worker => ("Worker", None),
        Kind::EnrolmentKey => ("EnrolmentKey", None),
        Kind::Sandbox => ("Sandbox", None),
    }
}

/// Callers of one type differ by their role.
fn principal_uid(kind: Kind) -> Result<EntityUid, String> {
    let (name, role) = principal(kind);
    uid(name, role.unwrap_or("it"))
}
