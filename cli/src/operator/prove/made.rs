//! What was made, so that all of it is removed again.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sealfleet_client::Client;
use sealfleet_domain::cause::chain;
use sealfleet_domain::{
    EnrolmentKeyId, NamePrefix, ProfileName, ProjectId, RunId, TokenId, WorkerId,
};

use super::ground::Ground;
use super::report::Left;
use crate::operator::failure::Failure;
use crate::operator::output::note;
use crate::operator::project::delete::until_deleted;

/// What stays, since nobody can remove it.
pub const STAYS: &str = "Rows of both projects stay in the ledger until they expire, and so do \
    their trails and archived trails, and task definitions that are inactive: nobody deletes a \
    trail.";
/// How long the runs of a project may take to end.
const PATIENCE: Duration = Duration::from_secs(600);

/// Something that was made here. It is noted before it is made, if its name is known before.
pub enum Made {
    Run(Client, RunId),
    Worker(Client, WorkerId),
    EnrolmentKey(Client, EnrolmentKeyId),
    Profile(Client, ProfileName),
    TaskDefinition(String),
    Directory(PathBuf),
    Secret(String),
    Token(ProjectId, TokenId),
    Project(ProjectId),
    Stack(String),
}

impl Made {
    /// What depends on another thing goes before it.
    const fn order(&self) -> u8 {
        match self {
            Self::Run(..) => 0,
            Self::Worker(..) => 1,
            Self::EnrolmentKey(..) => 2,
            Self::Profile(..) => 3,
            Self::TaskDefinition(_) => 4,
            Self::Directory(_) => 5,
            Self::Secret(_) => 6,
            Self::Token(..) => 7,
            Self::Project(_) => 8,
            Self::Stack(_) => 9,
        }
    }

    fn what(&self) -> String {
        match self {
            Self::Run(_, id) => format!("run {id}"),
            Self::Worker(_, id) => format!("worker {id}"),
            Self::EnrolmentKey(_, id) => format!("enrolment key {id}"),
            Self::Profile(_, name) => format!("profile {name}"),
            Self::TaskDefinition(arn) => format!("task definition {arn}"),
            Self::Directory(path) => format!("directory {}", path.display()),
            Self::Secret(name) => format!("secret {name}"),
            Self::Token(project, id) => format!("token {id} of project {project}"),
            Self::Project(project) => format!("project {project}"),
            Self::Stack(name) => format!("stack {name}"),
        }
    }

    fn by_hand(&self, prefix: &NamePrefix) -> String {
        let of_admin = "with a token of an admin of the project";
        match self {
            Self::Run(_, id) => format!("sealfleet run cancel {id}, {of_admin}"),
            Self::Worker(_, id) => format!("sealfleet worker revoke {id}, {of_admin}"),
            Self::EnrolmentKey(_, id) => format!("sealfleet enrolment-key revoke {id}, {of_admin}"),
            Self::Profile(_, name) => format!("sealfleet profile delete {name}, {of_admin}"),
            Self::TaskDefinition(arn) => {
                format!("aws ecs deregister-task-definition --task-definition {arn}")
            }
            Self::Directory(path) => format!("rm -r {}", path.display()),
            Self::Secret(name) => {
                let stored = name.strip_prefix("sealfleet/").unwrap_or(name);
                format!(
                    "aws secretsmanager delete-secret --force-delete-without-recovery --secret-id {prefix}/{stored}"
                )
            }
            Self::Token(project, id) => {
                format!("sealfleet token revoke {id} --project {project}")
            }
            Self::Project(project) => {
                format!("sealfleet project delete {project} --confirm {project} --drain")
            }
            Self::Stack(name) => format!("aws cloudformation delete-stack --stack-name {name}"),
        }
    }

    async fn remove(&self, ground: &Ground) -> Result<(), String> {
        let told = |error: sealfleet_client::Error| match error.status() {
            // It has ended, or is gone.
            Some(404 | 409) => Ok(()),
            _ => Err(error.to_string()),
        };
        match self {
            Self::Run(client, id) => client.cancel_run(*id).await.map(drop).or_else(told),
            Self::Worker(client, id) => client.revoke_worker(*id).await.map(drop).or_else(told),
            Self::EnrolmentKey(client, id) => client.revoke_enrolment_key(*id).await.or_else(told),
            Self::Profile(client, name) => client.delete_profile(name, None).await.or_else(told),
            Self::TaskDefinition(arn) => {
                let gone = ground.ecs.deregister(arn).await;
                gone.map_err(|error| chain(&error))
            }
            Self::Directory(path) => match std::fs::remove_dir_all(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error.to_string())
                }
                _ => Ok(()),
            },
            Self::Secret(name) => {
                let gone = ground.secrets.delete(name).await;
                gone.map_err(|error| error.to_string())
            }
            Self::Token(project, id) => {
                let gone = ground.operator.revoke_token(Some(project), *id).await;
                gone.or_else(told)
            }
            Self::Project(project) => {
                let gone = until_deleted(&ground.operator, project);
                match tokio::time::timeout(PATIENCE, gone).await {
                    Ok(Ok(_)) => Ok(()),
                    // It was never registered.
                    Ok(Err(Failure::Client(error))) => told(error),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err("it is closed, and its runs do not end".to_owned()),
                }
            }
            Self::Stack(name) => {
                let gone = ground.stacks.delete(name).await;
                gone.map_err(|error| error.to_string())
            }
        }
    }
}

/// All that was made.
#[derive(Default)]
pub struct List(Mutex<Vec<Arc<Entry>>>);

struct Entry {
    made: Made,
    /// How its removal ended, or nothing if it has not.
    removed: OnceLock<Result<(), String>>,
}

impl Entry {
    async fn remove(&self, ground: &Ground) {
        if matches!(self.made, Made::Project(_) | Made::Stack(_)) {
            note(&format!("deleting {}\n", self.made.what()));
        }
        let removed = self.made.remove(ground).await;
        self.removed.get_or_init(|| removed);
    }
}

impl List {
    pub fn add(&self, made: Made) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::new(Entry {
            made,
            removed: OnceLock::new(),
        }));
    }

    /// All entries, in the order of their removal.
    fn all(&self) -> Vec<Arc<Entry>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = all.clone();
        all.sort_by_key(|entry| entry.made.order());
        all
    }

    /// Removes everything. [`List::result`] tells how that went, also when nobody waits for the
    /// end.
    pub async fn remove(&self, ground: &Ground) {
        let all = self.all();
        let of = |is: fn(&Made) -> bool| all.iter().filter(move |entry| is(&entry.made));
        for entry in of(|made| !matches!(made, Made::Project(_) | Made::Stack(_))) {
            entry.remove(ground).await;
        }
        // Each takes minutes. Projects first: their runs may still need what the stacks have.
        for several in [
            of(|made| matches!(made, Made::Project(_))),
            of(|made| matches!(made, Made::Stack(_))),
        ] {
            futures_util::future::join_all(several.map(|entry| entry.remove(ground))).await;
        }
    }

    /// How many things are removed, and what is not.
    pub fn result(&self, prefix: &NamePrefix) -> (usize, Vec<Left>) {
        let all = self.all();
        let left = all.iter().filter_map(|entry| {
            let why = match entry.removed.get() {
                Some(Ok(())) => return None,
                Some(Err(why)) => why.clone(),
                None => "the removal was interrupted before it was gone".to_owned(),
            };
            Some(Left {
                what: entry.made.what(),
                why,
                remove: entry.made.by_hand(prefix),
            })
        });
        let left: Vec<Left> = left.collect();
        (all.len() - left.len(), left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_interrupted_removal_leaves_is_told_thing_by_thing() {
        let prefix = "sealfleet".parse().expect("a prefix");
        let list = List::default();
        list.add(Made::Stack("sealfleet-project-prove-a-1".to_owned()));
        list.add(Made::Project("prove-a-1".parse().expect("a project")));
        list.add(Made::Directory(PathBuf::from("/tmp/sealfleet-prove-1")));
        let removed = |at: usize, how: Result<(), String>| {
            list.all()[at].removed.set(how).expect("it was open");
        };
        removed(0, Ok(()));
        let (count, left) = list.result(&prefix);
        let by_hand: Vec<&str> = left.iter().map(|left| left.remove.as_str()).collect();
        assert_eq!(count, 1);
        assert_eq!(
            by_hand,
            [
                "sealfleet project delete prove-a-1 --confirm prove-a-1 --drain",
                "aws cloudformation delete-stack --stack-name sealfleet-project-prove-a-1",
            ]
        );
        assert!(left.iter().all(|left| left.why.contains("interrupted")));
        removed(1, Err("it is closed, and its runs do not end".to_owned()));
        removed(2, Ok(()));
        let (count, left) = list.result(&prefix);
        assert_eq!((count, left.len()), (2, 1));
        assert!(left[0].why.contains("do not end"));
    }
}
