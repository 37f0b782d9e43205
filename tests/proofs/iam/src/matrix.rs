//! The written matrix, and its comparison with what the policies decide.
//!
//! A row says what can be done (`do`, `on`, `when`) and who may: one answer for the functions, one
//! each for the three roles of a project. It is asked of every role, for each action on each thing
//! of each project. In the other direction, every Allow statement must lie within the rows that
//! name its role, so a permission nobody wrote down fails; and every condition a row states must be
//! needed: with it left out or changed, the answer must be no.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::account::{Account, Invocation, Kind, PROJECTS, Role, Shape};
use crate::policy::{Condition, Context, Decision, Operator, Request, like, within};
use crate::template::{ACCOUNT, API, REGION, SANDBOX_API};

/// What a star in a thing's ARN is replaced by in a request.
const SOME: &str = "x7";

/// The matrix, as written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matrix {
    /// ARNs by name; `{project}` is a project, `*` any text.
    pub things: BTreeMap<String, Names>,
    /// What functions are, in words.
    pub functions: BTreeMap<String, String>,
    /// Who may assume which roles.
    pub trust: Vec<Trust>,
    /// A port in the code and the permission it needs.
    pub ports: Vec<Port>,
    /// Calls whose refusals the local stack cannot show, with the reason.
    pub not_live: BTreeMap<String, String>,
    pub sections: Vec<Section>,
}

/// A name or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Names {
    One(String),
    Many(Vec<String>),
}

/// Rows that belong together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Section {
    /// What they are about.
    pub title: String,
    pub rows: Vec<Row>,
}

/// One thing that can be done, and who may.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub what: String,
    #[serde(rename = "do")]
    pub actions: Names,
    pub on: Names,
    /// What the request carries. Where somebody may, all of it is needed.
    #[serde(default)]
    pub when: BTreeMap<String, Names>,
    /// Only in a deployment of this shape; in the other, nobody may.
    #[serde(default)]
    pub only: Option<Only>,
    /// Why somebody may, where it is not plain.
    #[serde(default)]
    pub why: Option<String>,
    pub functions: Answer,
    /// The execution roles' answer.
    pub execution: Answer,
    /// The answer of the roles that workers' sandboxes read secrets with. Absent: no.
    #[serde(default = "no")]
    pub reader: Answer,
    /// The sandbox roles' answer.
    pub sandbox: Answer,
    /// The queue credentials' answer.
    pub queue: Answer,
    /// The answer of a worker's session for outputs. Absent: no.
    #[serde(default = "no")]
    pub upload: Answer,
    /// The answer of a session of `runs` for outputs. Absent: no.
    #[serde(default = "no")]
    pub download: Answer,
    /// The answer of a session that puts one upload in its place. Absent: no.
    #[serde(default = "no")]
    pub slot: Answer,
    /// The answer of a session that sees which uploads are there. Absent: no.
    #[serde(default = "no")]
    pub look: Answer,
    /// The answer of a session that brings a step what it works with. Absent: no.
    #[serde(default = "no")]
    pub bring: Answer,
    /// Why the refusals cannot be shown on the local stack. Absent: they are.
    #[serde(default)]
    pub not_live: Option<String>,
}

const fn no() -> Answer {
    Answer::Word(Word::No)
}

/// A row that is about one shape of deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Only {
    /// With a network of yours.
    Small,
    /// With a key of yours, and a network made here.
    Large,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// `yes`, `no`, `never` or `own`.
    Word(Word),
    /// These functions; the others may not.
    Only(BTreeSet<String>),
}

/// An answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    Yes,
    No,
    /// None may, even if a policy of theirs one day allowed everything.
    Never,
    /// On what is the own project's, and on nothing of another's.
    Own,
}

/// Who may assume roles.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// Which roles: `functions`, `execution`, `reader`, `sandbox`, `queue`, `upload`, `download`,
    /// `slot`, `look`, `bring`, or `role NAME`.
    pub of: String,
    /// A service, `function NAME`, or a token.
    pub only: String,
}

/// What stands in `functions/main.rs` when a function has a port, and the permission that the port
/// needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// How functions/main.rs makes it.
    pub code: Names,
    /// `ACTION on THING`: one of them. None: the port needs none.
    #[serde(default)]
    pub needs: Option<Names>,
}

/// What the policies answer to one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    pub functions: Answer,
    pub execution: Answer,
    pub reader: Answer,
    pub sandbox: Answer,
    pub queue: Answer,
    pub upload: Answer,
    pub download: Answer,
    pub slot: Answer,
    pub look: Answer,
    pub bring: Answer,
}

/// A request of a row, and whose thing it is on: a project's, a function's, nobody's.
struct Asked {
    owner: Option<String>,
    request: Request,
}

impl Names {
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Self::One(name) => std::slice::from_ref(name).iter(),
            Self::Many(names) => names.iter(),
        }
        .map(String::as_str)
    }
}

impl Row {
    /// Whether somebody may in a deployment of this shape, if anybody.
    pub fn is_about(&self, shape: Shape) -> bool {
        match self.only {
            None => true,
            Some(Only::Small) => shape == Shape::Small,
            Some(Only::Large) => shape == Shape::Large,
        }
    }
}

impl Row {
    /// Whether it names the role as one that may.
    fn says_yes_to(&self, role: &Role) -> bool {
        let answer = match role.kind {
            Kind::Function => &self.functions,
            Kind::Execution => &self.execution,
            Kind::Reader => &self.reader,
            Kind::Sandbox => &self.sandbox,
            Kind::Queue => &self.queue,
            Kind::Upload => &self.upload,
            Kind::Download => &self.download,
            Kind::Slot => &self.slot,
            Kind::Look => &self.look,
            Kind::Bring => &self.bring,
        };
        match answer {
            Answer::Word(word) => matches!(word, Word::Yes | Word::Own),
            Answer::Only(names) => names.contains(&role.name),
        }
    }
}

impl Kind {
    /// As the matrix writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Function => "functions",
            Self::Execution => "execution",
            Self::Reader => "reader",
            Self::Sandbox => "sandbox",
            Self::Queue => "queue",
            Self::Upload => "upload",
            Self::Download => "download",
            Self::Slot => "slot",
            Self::Look => "look",
            Self::Bring => "bring",
        }
    }
}

impl Matrix {
    /// Reads `tests/proofs/iam/matrix.yaml`.
    pub fn of_the_product() -> Result<Self, String> {
        Self::parse(&crate::text("tests/proofs/iam/matrix.yaml")?)
    }

    pub fn parse(text: &str) -> Result<Self, String> {
        yaml_serde::from_str(text).map_err(|error| format!("the matrix: {error}"))
    }

    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.sections.iter().flat_map(|section| &section.rows)
    }

    /// Everything in which the matrix and the account differ; nothing when they agree.
    pub fn differences(&self, account: &Account) -> Vec<String> {
        self.at_least(account, usize::MAX)
    }

    /// As [`Matrix::differences`], but no further than the first place that has one.
    pub fn first_differences(&self, account: &Account) -> Vec<String> {
        self.at_least(account, 1)
    }

    /// Differences, until there are `enough`.
    fn at_least(&self, account: &Account, enough: usize) -> Vec<String> {
        let mut found = Vec::new();
        for role in &account.roles {
            if role.kind == Kind::Function && !self.functions.contains_key(&role.name) {
                found.push(format!(
                    "the function `{}` is not in the matrix: say what it does, and give it rows",
                    role.name
                ));
            }
            found.extend(self.unwritten(account, role));
        }
        for name in self
            .functions
            .keys()
            .filter(|_| account.shape == Shape::Large)
        {
            if !account
                .roles
                .iter()
                .any(|role| role.kind == Kind::Function && role.name == *name)
            {
                found.push(format!(
                    "the matrix speaks of a function `{name}` that has no role"
                ));
            }
        }
        found.extend(self.trust_differences(account));
        found.extend(invocation_differences(account));
        found.extend(guard_differences(account));
        for row in self.rows() {
            if found.len() >= enough {
                break;
            }
            match self.observe(account, row) {
                Ok(observed) if !row.is_about(account.shape) => {
                    found.extend(compare(&nobodys(row), &observed))
                }
                Ok(observed) => found.extend(compare(&of_deployed(row, account), &observed)),
                Err(error) => found.push(format!("`{}`: {error}", row.what)),
            }
            found.extend(self.needless(account, row));
        }
        found
    }

    /// What the policies answer to a row.
    pub fn observe(&self, account: &Account, row: &Row) -> Result<Observed, String> {
        let asked = self.asked(row)?;
        let of = |kind: Kind| account.roles.iter().filter(move |role| role.kind == kind);
        let alike = |kind: Kind| -> Result<Answer, String> {
            // Who is no function has nothing of a function's own; that it may no more is seen with
            // its statements.
            let of_kind = of(kind)
                .filter(|role| kind != Kind::Function || account.functions.contains(&role.name));
            let words = of_kind
                .map(|role| word_of(account, role, &asked))
                .collect::<Result<BTreeSet<_>, _>>()?;
            match words.len() {
                1 => Ok(Answer::Word(words.into_iter().next().unwrap_or(Word::No))),
                _ => Err(format!("{kind:?} roles differ: {words:?}")),
            }
        };
        let by_function = self
            .patterns(&row.on)?
            .iter()
            .any(|pattern| pattern.contains("{function}"));
        let functions = match by_function.then(|| alike(Kind::Function)).transpose()? {
            Some(Answer::Word(Word::No)) | None => Self::functions_answer(account, &asked)?,
            Some(answer) => answer,
        };
        // Every role of the control plane is a function's where no network is made: naming all
        // functions is then the same as `yes`.
        let functions = match (functions, &row.functions) {
            (Answer::Word(Word::Yes), Answer::Only(names)) if *names == account.functions => {
                Answer::Only(names.clone())
            }
            (answer, _) => answer,
        };
        Ok(Observed {
            functions,
            execution: alike(Kind::Execution)?,
            reader: alike(Kind::Reader)?,
            sandbox: alike(Kind::Sandbox)?,
            queue: alike(Kind::Queue)?,
            upload: alike(Kind::Upload)?,
            download: alike(Kind::Download)?,
            slot: alike(Kind::Slot)?,
            look: alike(Kind::Look)?,
            bring: alike(Kind::Bring)?,
        })
    }

    fn functions_answer(account: &Account, asked: &[Asked]) -> Result<Answer, String> {
        let functions: Vec<&Role> = account
            .roles
            .iter()
            .filter(|role| role.kind == Kind::Function)
            .collect();
        let mut may = BTreeSet::new();
        let mut never = true;
        for role in &functions {
            let allowed = asked
                .iter()
                .filter(|asked| account.decide(role, &asked.request, false) == Decision::Allowed)
                .count();
            if allowed == asked.len() {
                may.insert(role.name.clone());
            } else if allowed > 0 {
                return Err(format!(
                    "`{}` may {allowed} of {}: {}",
                    role.name,
                    asked.len(),
                    told(account, role, asked)
                ));
            }
            never = never
                && asked
                    .iter()
                    .all(|asked| account.decide(role, &asked.request, true) != Decision::Allowed);
        }
        Ok(match (may.len(), never) {
            (0, true) => Answer::Word(Word::Never),
            (0, false) => Answer::Word(Word::No),
            (all, _) if all == functions.len() => Answer::Word(Word::Yes),
            _ => Answer::Only(may),
        })
    }

    /// Each request of a row that the policies refuse to `role`: what a live check can try.
    pub fn refused(
        &self,
        account: &Account,
        role: &Role,
        row: &Row,
    ) -> Result<Vec<Request>, String> {
        let asked = self.asked(row)?.into_iter().map(|asked| asked.request);
        Ok(asked
            .filter(|request| account.decide(role, request, false) != Decision::Allowed)
            .collect())
    }

    /// All requests of a row.
    pub fn requests(&self, row: &Row) -> Result<Vec<Request>, String> {
        Ok(self
            .asked(row)?
            .into_iter()
            .map(|asked| asked.request)
            .collect())
    }

    fn asked(&self, row: &Row) -> Result<Vec<Asked>, String> {
        let mut all = Vec::new();
        for action in row.actions.iter() {
            for pattern in self.patterns(&row.on)? {
                for owner in self.owners(pattern, row) {
                    let resource = match pattern {
                        "*" => "*".to_owned(),
                        pattern => fill(pattern, owner.as_deref()).replace('*', SOME),
                    };
                    for context in contexts(row, owner.as_deref()) {
                        let request = Request {
                            action: action.to_owned(),
                            resource: resource.clone(),
                            context,
                        };
                        all.push(Asked {
                            owner: owner.clone(),
                            request,
                        });
                    }
                }
            }
        }
        Ok(all)
    }

    /// Whose things a pattern is about.
    fn owners(&self, pattern: &str, row: &Row) -> Vec<Option<String>> {
        let names = |placeholder: &str| {
            pattern.contains(placeholder)
                || row
                    .when
                    .values()
                    .flat_map(Names::iter)
                    .any(|value| value.contains(placeholder))
        };
        if names("{project}") {
            PROJECTS
                .iter()
                .map(|project| Some((*project).to_owned()))
                .collect()
        } else if names("{function}") {
            self.functions.keys().cloned().map(Some).collect()
        } else {
            vec![None]
        }
    }

    fn patterns<'a>(&'a self, things: &'a Names) -> Result<Vec<&'a str>, String> {
        let mut patterns = Vec::new();
        for name in things.iter() {
            let thing = self
                .things
                .get(name)
                .ok_or_else(|| format!("there is no thing `{name}`"))?;
            patterns.extend(thing.iter());
        }
        Ok(patterns)
    }

    /// The permission is also there without, or with another, of what the row says it needs.
    fn needless(&self, account: &Account, row: &Row) -> Vec<String> {
        let mut found = Vec::new();
        for asked in self.asked(row).into_iter().flatten() {
            for (key, values) in &row.when {
                let key = key.to_ascii_lowercase();
                let mut others: Vec<Option<String>> = vec![None, Some(String::new())];
                for value in values.iter() {
                    others.push(Some(format!("{}x", fill(value, asked.owner.as_deref()))));
                    if value.contains("{project}") {
                        let others_of = PROJECTS
                            .iter()
                            .filter(|project| Some(**project) != asked.owner.as_deref());
                        others.extend(others_of.map(|project| Some(fill(value, Some(project)))));
                    }
                }
                // A pattern that ends in a star matches what is longer, too.
                others.retain(|other| {
                    let is_written = |value: &str| {
                        let value = fill(value, asked.owner.as_deref());
                        other.as_deref().is_some_and(|other| like(&value, other))
                    };
                    !values.iter().any(is_written)
                });
                for other in others {
                    let mut request = asked.request.clone();
                    match &other {
                        None => request.context.remove(&key),
                        Some(other) => request.context.insert(key.clone(), other.clone()),
                    };
                    let may = account
                        .roles
                        .iter()
                        .filter(|role| !self.may_anyway(role, row))
                        .filter(|role| {
                            account.decide(role, &asked.request, false) == Decision::Allowed
                                && account.decide(role, &request, false) == Decision::Allowed
                        });
                    found.extend(may.map(|role| {
                        let given = other.as_deref().unwrap_or("nothing");
                        format!(
                            "`{}`: `{}` may on `{}` with {given} as `{key}`",
                            row.what, role.name, request.resource
                        )
                    }));
                }
            }
        }
        found
    }

    /// Whether a row that asks for nothing lets the role do as much.
    fn may_anyway(&self, role: &Role, row: &Row) -> bool {
        self.rows().any(|other| {
            other.when.is_empty()
                && other.says_yes_to(role)
                && row
                    .actions
                    .iter()
                    .all(|action| other.actions.iter().any(|known| known == action))
                && row
                    .on
                    .iter()
                    .all(|thing| other.on.iter().any(|known| known == thing))
        })
    }

    /// What a role's Allow statements allow beyond the rows.
    fn unwritten(&self, account: &Account, role: &Role) -> Vec<String> {
        let guarded = guarded_keys(account);
        let mut found = Vec::new();
        for (policy, statement) in role.policies.iter().flat_map(|(name, policy)| {
            policy
                .statements
                .iter()
                .filter(|statement| statement.allow)
                .map(move |statement| (name, statement))
        }) {
            for action in &statement.actions.patterns {
                for resource in statement
                    .resources
                    .iter()
                    .flat_map(|resources| &resources.patterns)
                {
                    for (resource, narrower) in narrowed(role, action, resource) {
                        let conditions = [statement.conditions.as_slice(), &narrower].concat();
                        let each = one_by_one(&conditions);
                        let written = |given: &Vec<Condition>| {
                            self.rows().any(|row| {
                                self.covers(row, role, given, &guarded, action, &resource)
                            })
                        };
                        if !each.iter().all(written) {
                            found.push(format!(
                                "`{}` may `{action}` on `{resource}` by `{policy}`, statement `{}`: no row says so",
                                role.name, statement.sid
                            ));
                        }
                    }
                }
            }
        }
        found
    }

    fn covers(
        &self,
        row: &Row,
        role: &Role,
        given: &[Condition],
        guarded: &BTreeSet<String>,
        action: &str,
        resource: &str,
    ) -> bool {
        // A function works for all projects; the role of a project for its own.
        let whose = role.project.unwrap_or("*");
        let things = self.patterns(&row.on).unwrap_or_default();
        row.says_yes_to(role)
            && row.actions.iter().any(|written| written == action)
            && things.iter().any(|thing| {
                within(
                    resource,
                    &thing
                        .replace("{project}", whose)
                        .replace("{function}", &role.name),
                )
            })
            && row
                .when
                .iter()
                .filter(|(key, _)| !guarded.contains(&key.to_ascii_lowercase()))
                .all(|(key, values)| {
                    let values: Vec<String> = values
                        .iter()
                        .map(|value| value.replace("{project}", whose))
                        .collect();
                    given.iter().any(|condition| {
                        let must_be_there = given.iter().any(|other| {
                            other.key == condition.key
                                && other.operator == Operator::Null
                                && other.values == ["false"]
                        });
                        condition.key == key.to_ascii_lowercase()
                            && (!condition.without_key || must_be_there)
                            && matches!(condition.operator, Operator::Equals | Operator::Like)
                            && condition
                                .values
                                .iter()
                                .all(|held| values.iter().any(|value| within(held, value)))
                    })
                })
    }

    fn trust_differences(&self, account: &Account) -> Vec<String> {
        let mut found = Vec::new();
        for role in &account.roles {
            let of = |name: &str| -> BTreeSet<String> {
                self.trust
                    .iter()
                    .filter(|trust| trust.of == name)
                    .map(|trust| trust.only.clone())
                    .collect()
            };
            let trusted = match of(&format!("role {}", role.name)) {
                by_name if by_name.is_empty() => of(role.kind.word()),
                by_name => by_name,
            };
            let mut may: BTreeSet<String> = SERVICES
                .iter()
                .filter(|service| Account::service_may_assume(role, service, ACCOUNT))
                .map(|service| (*service).to_owned())
                .collect();
            for holder in &account.roles {
                if account.principal_may_assume(role, &role.tags, &holder.arn, Some(holder)) {
                    may.insert(format!("function {}", holder.name));
                }
                // Nobody makes a session that lacks a tag which the role's policy counts on.
                for (lacking, _) in &role.tags {
                    let tags = role.tags.iter().copied().filter(|(key, _)| key != lacking);
                    let tags: Vec<_> = tags.collect();
                    if account.principal_may_assume(role, &tags, &holder.arn, Some(holder)) {
                        may.insert(format!(
                            "function {} without the tag {lacking}",
                            holder.name
                        ));
                    }
                }
            }
            for stranger in STRANGERS {
                if account.principal_may_assume(role, &role.tags, stranger, None) {
                    may.insert(stranger.to_owned());
                }
            }
            // Lambda gets a role by PassRole alone; the others act for resources, of any account
            // unless the role says so.
            may.extend(
                SERVICES
                    .iter()
                    .filter(|service| **service != "lambda.amazonaws.com")
                    .filter(|service| Account::service_may_assume(role, service, "999999999999"))
                    .map(|service| format!("{service} for another account")),
            );
            for (token, audience, project) in tokens_for(role) {
                if Account::token_may_assume(role, audience, &project) {
                    may.insert(token.to_owned());
                }
            }
            if may != trusted {
                found.push(format!(
                    "the role of `{}` may be assumed by {may:?}, and the matrix says {trusted:?}",
                    role.name
                ));
            }
            // Who is trusted must also be listed by name: a pattern or a service this test does not
            // know would pass above.
            for statement in &role.trust.statements {
                let actions: &[&str] = match (role.kind, role.tags.is_empty()) {
                    (Kind::Reader, _) => {
                        &["sts:AssumeRoleWithWebIdentity", "sts:SetSourceIdentity"]
                    }
                    (_, true) => &["sts:AssumeRole"],
                    (_, false) => &["sts:AssumeRole", "sts:TagSession"],
                };
                // A role that functions assume trusts the account, on a condition about who asks.
                let principals = match role.tags.is_empty() {
                    true => trusted.len(),
                    false => 1,
                };
                let plain = statement.allow
                    && !statement.actions.not
                    && statement.actions.patterns == actions
                    && statement.principals.iter().flatten().count() == principals;
                if !plain {
                    found.push(format!(
                        "the trust policy of `{}` holds more than the matrix says",
                        role.name
                    ));
                }
            }
        }
        found
    }
}

/// Tokens of the control plane that somebody may try on a role: what they are, their audience, and
/// the project of their subject.
fn tokens_for(role: &Role) -> [(&'static str, &'static str, String); 4] {
    let own = role.project.unwrap_or("healthcare");
    let reads = "sealfleet.secrets";
    [
        (
            "a token that reads secrets of its project",
            reads,
            own.to_owned(),
        ),
        (
            "a token that reads secrets of another project",
            reads,
            format!("{own}2"),
        ),
        (
            "a token that reads secrets of no project",
            reads,
            String::new(),
        ),
        (
            "a token for another audience",
            "sts.amazonaws.com",
            own.to_owned(),
        ),
    ]
}

/// What a session's own policy leaves of an Allow of its role: the narrower of the two resources,
/// and what else the session's policy asks. Two resources of which neither holds the other have
/// nothing in common here.
fn narrowed(role: &Role, action: &str, resource: &str) -> Vec<(String, Vec<Condition>)> {
    let session = match (role.kind, &role.session) {
        // The role of queues alone must answer as its sessions do.
        (Kind::Queue, _) | (_, None) => return vec![(resource.to_owned(), Vec::new())],
        (_, Some(session)) => session,
    };
    let of_action = session.statements.iter().filter(|statement| {
        statement.allow
            && statement
                .actions
                .patterns
                .iter()
                .any(|known| known == action)
    });
    let mut left = Vec::new();
    for statement in of_action {
        for own in statement.resources.iter().flat_map(|own| &own.patterns) {
            let narrower = match (within(own, resource), within(resource, own)) {
                (true, _) => own,
                (false, true) => resource,
                (false, false) => continue,
            };
            left.push((narrower.to_owned(), statement.conditions.clone()));
        }
    }
    left
}

/// Services that run code or act for others.
const SERVICES: [&str; 15] = [
    "vpc-flow-logs.amazonaws.com",
    "lambda.amazonaws.com",
    "ecs-tasks.amazonaws.com",
    "ecs.amazonaws.com",
    "ec2.amazonaws.com",
    "events.amazonaws.com",
    "apigateway.amazonaws.com",
    "states.amazonaws.com",
    "scheduler.amazonaws.com",
    "pipes.amazonaws.com",
    "cloudformation.amazonaws.com",
    "codebuild.amazonaws.com",
    "glue.amazonaws.com",
    "ssm.amazonaws.com",
    "sagemaker.amazonaws.com",
];

/// Principals that hold none of the roles here.
const STRANGERS: [&str; 4] = [
    "arn:aws:iam::111122223333:root",
    "arn:aws:iam::111122223333:user/somebody",
    "arn:aws:iam::999999999999:root",
    "arn:aws:iam::999999999999:role/sealfleet/control/sealfleet-claim",
];

/// The row, answered by nobody.
fn nobodys(row: &Row) -> Row {
    Row {
        functions: no(),
        execution: no(),
        reader: no(),
        sandbox: no(),
        queue: no(),
        upload: no(),
        download: no(),
        slot: no(),
        look: no(),
        bring: no(),
        ..row.clone()
    }
}

/// The row without the roles that this deployment does not have.
fn of_deployed(row: &Row, account: &Account) -> Row {
    let Answer::Only(names) = &row.functions else {
        return row.clone();
    };
    let mut there = names.clone();
    there.retain(|name| {
        let mut roles = account.roles.iter();
        roles.any(|role| role.kind == Kind::Function && role.name == *name)
    });
    Row {
        functions: match there.len() {
            0 => no(),
            _ => Answer::Only(there),
        },
        ..row.clone()
    }
}

fn compare(row: &Row, observed: &Observed) -> Vec<String> {
    [
        ("functions", &row.functions, &observed.functions),
        ("execution", &row.execution, &observed.execution),
        ("reader", &row.reader, &observed.reader),
        ("sandbox", &row.sandbox, &observed.sandbox),
        ("queue", &row.queue, &observed.queue),
        ("upload", &row.upload, &observed.upload),
        ("download", &row.download, &observed.download),
        ("slot", &row.slot, &observed.slot),
        ("look", &row.look, &observed.look),
        ("bring", &row.bring, &observed.bring),
    ]
    .into_iter()
    .filter(|(_, written, observed)| {
        // A never is a no, and more than that.
        written != observed
            && !(**written == Answer::Word(Word::No) && **observed == Answer::Word(Word::Never))
    })
    .map(|(who, written, observed)| {
        format!(
            "`{}`: {who}: the matrix says {}, the policies {}",
            row.what,
            said(written),
            said(observed)
        )
    })
    .collect()
}

fn said(answer: &Answer) -> String {
    match answer {
        Answer::Word(word) => format!("{word:?}").to_lowercase(),
        Answer::Only(names) => format!(
            "only {}",
            names.iter().cloned().collect::<Vec<_>>().join(", ")
        ),
    }
}

fn word_of(account: &Account, role: &Role, asked: &[Asked]) -> Result<Word, String> {
    let may = |asked: &&Asked| account.decide(role, &asked.request, false) == Decision::Allowed;
    let (own, others): (Vec<&Asked>, Vec<&Asked>) = asked
        .iter()
        .partition(|asked| asked.owner.is_none() || asked.owner.as_deref() == Some(role.owner()));
    let (own_may, others_may) = (
        own.iter().filter(|asked| may(asked)).count(),
        others.iter().filter(|asked| may(asked)).count(),
    );
    match (own_may, others_may) {
        (0, 0) => Ok(Word::No),
        (all, 0) if all == own.len() && !others.is_empty() => Ok(Word::Own),
        (all, most) if all == own.len() && most == others.len() => Ok(Word::Yes),
        _ => Err(format!(
            "`{}` may {own_may} of {} of its own project and {others_may} of {} of others: {}",
            role.name,
            own.len(),
            others.len(),
            told(account, role, asked)
        )),
    }
}

/// Each request and its decision, for a failure's text.
fn told(account: &Account, role: &Role, asked: &[Asked]) -> String {
    let lines = asked.iter().map(|asked| {
        let Request {
            action, resource, ..
        } = &asked.request;
        format!(
            "{action} on {resource}: {:?}",
            account.decide(role, &asked.request, false)
        )
    });
    lines.collect::<Vec<_>>().join("; ")
}

/// A resource's own policy lets in no stranger: a service, for a resource of this account, or this
/// account.
fn guard_differences(account: &Account) -> Vec<String> {
    let mut found = Vec::new();
    for guard in &account.guards {
        for statement in guard
            .policy
            .statements
            .iter()
            .filter(|statement| statement.allow)
        {
            let bound = |keys: &[&str]| {
                statement.conditions.iter().any(|condition| {
                    keys.contains(&condition.key.as_str())
                        && !condition.without_key
                        && matches!(condition.operator, Operator::Equals | Operator::Like)
                        && condition.values.iter().all(|value| value.contains(ACCOUNT))
                })
            };
            for (kind, name) in statement.principals.iter().flatten() {
                let known = match kind.as_str() {
                    "Service" => bound(&[
                        "aws:sourcearn",
                        "aws:sourceaccount",
                        "kms:encryptioncontext:aws:logs:arn",
                    ]),
                    _ => {
                        name.contains(&format!(":{ACCOUNT}:"))
                            || bound(&["aws:principalarn", "aws:principalaccount"])
                    }
                };
                if !known {
                    let sid = &statement.sid;
                    found.push(format!(
                        "the policy of `{}` lets in `{name}`, statement `{sid}`, from anywhere",
                        guard.of
                    ));
                }
            }
        }
    }
    found
}

/// A function is invoked by this API, or by a rule that targets it, and by nothing else.
fn invocation_differences(account: &Account) -> Vec<String> {
    let api = format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{API}/*/*");
    let sandbox_api =
        format!("arn:aws:execute-api:{REGION}:{ACCOUNT}:{SANDBOX_API}/live/POST/v1/sandbox/");
    account
        .invocations
        .iter()
        .filter(|invocation| {
            let by_rule = account.rules.iter().any(|(rule, targets)| {
                *rule == invocation.source
                    && targets.iter().any(|target| target.ends_with(&format!(":function:{}", invocation.function)))
            });
            !match invocation.principal.as_str() {
                "apigateway.amazonaws.com" if invocation.function == "sealfleet-sandbox" => {
                    invocation.source == api || invocation.source == format!("{sandbox_api}*")
                }
                "apigateway.amazonaws.com" if invocation.function == "sealfleet-identity" => {
                    invocation.source == api || invocation.source == format!("{sandbox_api}token")
                }
                "apigateway.amazonaws.com" => invocation.source == api,
                "events.amazonaws.com" => by_rule,
                _ => false,
            }
        })
        .map(|Invocation { function, principal, source }| {
            format!("`{function}` may be invoked by `{principal}` for `{source}`: neither this API nor a rule for it")
        })
        .collect()
}

/// What resources' own policies ask of a request: no role's policy need ask it again.
fn guarded_keys(account: &Account) -> BTreeSet<String> {
    let denies = account
        .guards
        .iter()
        .flat_map(|guard| &guard.policy.statements)
        .filter(|statement| !statement.allow);
    denies
        .flat_map(|statement| &statement.conditions)
        .map(|condition| condition.key.clone())
        .collect()
}

/// Conditions with several values, as conditions with each one of them: any will do, so each must
/// be written down.
fn one_by_one(conditions: &[Condition]) -> Vec<Vec<Condition>> {
    let mut all: Vec<Vec<Condition>> = vec![Vec::new()];
    for condition in conditions {
        let each = match condition.operator {
            Operator::Equals | Operator::Like => condition
                .values
                .iter()
                .map(|value| Condition {
                    values: vec![value.clone()],
                    ..condition.clone()
                })
                .collect(),
            Operator::NotEquals | Operator::NotLike | Operator::Null => vec![condition.clone()],
        };
        all = all
            .iter()
            .flat_map(|before| {
                each.iter()
                    .map(|one| [before.as_slice(), std::slice::from_ref(one)].concat())
            })
            .collect();
    }
    all
}

/// What a request of the row carries: each combination of its values.
fn contexts(row: &Row, owner: Option<&str>) -> Vec<Context> {
    let mut all = vec![Context::from([(
        "aws:securetransport".to_owned(),
        "true".to_owned(),
    )])];
    for (key, values) in &row.when {
        let with = |context: &Context, value: &str| {
            let mut context = context.clone();
            context.insert(
                key.to_ascii_lowercase(),
                fill(value, owner).replace('*', SOME),
            );
            context
        };
        all = all
            .iter()
            .flat_map(|context| values.iter().map(move |value| with(context, value)))
            .collect();
    }
    all
}

fn fill(pattern: &str, owner: Option<&str>) -> String {
    match owner {
        Some(owner) => pattern
            .replace("{project}", owner)
            .replace("{function}", owner),
        None => pattern.to_owned(),
    }
}

/// The functions that have each port of the matrix, by the code that wires them; and what the
/// matrix lacks.
///
/// `code` is `functions/main.rs`, whose arms are `"name" => …`.
pub fn port_differences(matrix: &Matrix, account: &Account, code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut arms: BTreeMap<&str, &str> = BTreeMap::new();
    let starts: Vec<usize> = code.match_indices("\" => ").map(|(at, _)| at).collect();
    for (index, end) in starts.iter().enumerate() {
        let name = code
            .get(..*end)
            .and_then(|before| before.rsplit('"').next())
            .unwrap_or_default();
        let until = starts.get(index + 1).copied().unwrap_or(code.len());
        arms.insert(name, code.get(*end..until).unwrap_or_default());
    }
    for name in &account.functions {
        if !arms.contains_key(name.as_str()) {
            found.push(format!("functions/main.rs wires no function `{name}`"));
        }
    }
    for port in &matrix.ports {
        let Some(needs) = &port.needs else { continue };
        let wired: BTreeSet<&str> = arms
            .iter()
            .filter(|(_, arm)| port.code.iter().any(|code| arm.contains(code)))
            .map(|(name, _)| *name)
            .collect();
        let mut may = BTreeSet::new();
        for need in needs.iter() {
            let (action, on) = need.split_once(" on ").unwrap_or((need, ""));
            let Ok(patterns) = matrix
                .patterns(&Names::One(on.to_owned()))
                .map(|patterns| patterns.join(""))
            else {
                found.push(format!("the port {:?} is on no thing", port.code));
                continue;
            };
            let resource = fill(&patterns, Some(PROJECTS[0])).replace('*', SOME);
            let context = matrix
                .rows()
                .filter(|row| !matches!(row.functions, Answer::Word(Word::No | Word::Never)))
                .filter(|row| {
                    row.actions.iter().any(|known| known == action)
                        && row.on.iter().any(|name| name == on)
                })
                .flat_map(|row| contexts(row, Some(PROJECTS[0])))
                .next()
                .unwrap_or_default();
            let request = Request {
                action: action.to_owned(),
                resource,
                context,
            };
            let functions = account
                .roles
                .iter()
                .filter(|role| account.functions.contains(&role.name));
            may.extend(
                functions
                    .filter(|role| role.kind == Kind::Function)
                    .filter(|role| account.decide(role, &request, false) == Decision::Allowed)
                    .map(|role| role.name.as_str()),
            );
        }
        if may != wired {
            found.push(format!(
                "{needs:?}: {may:?} may, and {:?} stands in {wired:?}",
                port.code
            ));
        }
    }
    // A port that the matrix does not know would need permissions that no row is tied to.
    for (name, arm) in arms {
        for call in calls(arm).into_iter().filter(|call| {
            let mut known = matrix.ports.iter().flat_map(|port| port.code.iter());
            !known.any(|code| code == call)
        }) {
            found.push(format!(
                "functions/main.rs gives `{name}` the port `{call}`, which the matrix does not know"
            ));
        }
    }
    found
}

/// `with.NAME()` and `NAME::new(&with` in a piece of code.
fn calls(code: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let mut calls: Vec<String> = code
        .match_indices("with.")
        .filter_map(|(at, found)| code.get(at + found.len()..))
        .filter(|rest| {
            rest.get(word(rest).len()..)
                .is_some_and(|after| after.starts_with('('))
        })
        .map(|rest| format!("with.{}(", word(rest)))
        .collect();
    calls.extend(code.match_indices("::new(&with").filter_map(|(at, _)| {
        let before: String = code
            .get(..at)?
            .chars()
            .rev()
            .take_while(|c| c.is_alphanumeric())
            .collect();
        Some(format!(
            "{}::new(",
            before.chars().rev().collect::<String>()
        ))
    }));
    calls
}
