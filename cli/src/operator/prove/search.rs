//! Searches the places where the control plane, and AWS on its behalf, keep what they are told.
//!
//! A search that reads nothing finds nothing. So each search must also find a mark that has to be
//! there, the id of a run for example, or it shows nothing.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use aho_corasick::AhoCorasick;
use aws_sdk_dynamodb::types::AttributeValue;
use sealfleet_archive::objects;
use sealfleet_aws::objects::{Objects as _, S3};
use sealfleet_aws_json::logs::Logs;
use sealfleet_domain::cause::chain;

use super::canary::{Ear, Needle};
use super::report::{Seen, Why};

/// Somewhere to look.
pub trait Place {
    /// How the report calls it.
    fn name(&self) -> String;
    /// Shows all that is there, piece by piece. Fails with the reason why it cannot.
    async fn read(&self, look: &mut Look<'_>) -> Result<(), String>;
}

/// What a search has seen so far.
pub struct Look<'a> {
    needle: &'a Needle,
    /// None once it is found.
    mark: Option<AhoCorasick>,
    pieces: usize,
    bytes: usize,
    found: Vec<String>,
}

impl Look<'_> {
    pub fn at(&mut self, piece: &[u8], whereabouts: impl FnOnce() -> String) {
        self.pieces += 1;
        self.bytes += piece.len();
        if let Some(found) = self.needle.find(piece) {
            self.found.push(format!("{}: {found}", whereabouts()));
        }
        if self.mark.as_ref().is_some_and(|mark| mark.is_match(piece)) {
            self.mark = None;
        }
    }
}

/// Looks at these places for the needle. The text `mark` must be somewhere in each of them.
pub async fn nowhere(places: &[impl Place], needle: &Needle, mark: &str) -> Seen {
    let (mut pieces, mut bytes) = (0, 0);
    let mut found = Vec::new();
    let mut without_mark = Vec::new();
    for place in places {
        let mark = AhoCorasick::new([mark]).map_err(|error| Why::NotTried(error.to_string()))?;
        let mut look = Look {
            needle,
            mark: Some(mark),
            pieces: 0,
            bytes: 0,
            found: Vec::new(),
        };
        let read = place.read(&mut look).await;
        pieces += look.pieces;
        bytes += look.bytes;
        found.extend(look.found);
        if let Err(reason) = read {
            without_mark.push(format!("{}: {reason}", place.name()));
        } else if look.mark.is_some() {
            without_mark.push(format!(
                "{}: what must be there was not found in {} pieces, so that this search proves nothing",
                place.name(),
                look.pieces
            ));
        }
    }
    if !found.is_empty() {
        found.truncate(10);
        return Err(Why::Broken(format!("found {}", found.join("; "))));
    }
    if !without_mark.is_empty() {
        return Err(Why::NotTried(without_mark.join("\n")));
    }
    let names: Vec<String> = places.iter().map(Place::name).collect();
    let names = if names.len() > 4 {
        format!("{} places", names.len())
    } else {
        names.join(", ")
    };
    Ok(format!("{pieces} pieces, {bytes} bytes of {names}"))
}

/// What the API has answered.
pub fn answers(ear: &Ear) -> Seen {
    let (answers, found) = ear.heard();
    if !found.is_empty() {
        return Err(Why::Broken(format!("an answer held {}", found.join(", "))));
    }
    if answers == 0 {
        return Err(Why::NotTried("there was no answer".to_owned()));
    }
    Ok(format!("{answers} answers"))
}

/// A table.
pub struct Table {
    pub client: aws_sdk_dynamodb::Client,
    pub name: String,
}

impl Place for Table {
    fn name(&self) -> String {
        format!("table {}", self.name)
    }

    async fn read(&self, look: &mut Look<'_>) -> Result<(), String> {
        let mut start: Option<HashMap<String, AttributeValue>> = None;
        loop {
            let page = self.client.scan().table_name(&self.name);
            let page = page.consistent_read(true).set_exclusive_start_key(start);
            let page = page.send().await.map_err(|error| chain(&error))?;
            for item in page.items() {
                for (name, value) in item {
                    attribute(value, look, &|| format!("{}, `{name}`", self.name));
                }
            }
            start = page.last_evaluated_key;
            if start.is_none() {
                return Ok(());
            }
        }
    }
}

/// Looks at a value, at what is in it, and at what is packed in it.
fn attribute(value: &AttributeValue, look: &mut Look<'_>, whereabouts: &dyn Fn() -> String) {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => look.at(text.as_bytes(), whereabouts),
        AttributeValue::B(bytes) => {
            look.at(bytes.as_ref(), whereabouts);
            if let Ok(inside) = sealfleet_ledger::unpack::<serde_json::Value>(bytes.as_ref()) {
                look.at(inside.to_string().as_bytes(), whereabouts);
            }
        }
        AttributeValue::Ss(all) | AttributeValue::Ns(all) => {
            for text in all {
                look.at(text.as_bytes(), whereabouts);
            }
        }
        AttributeValue::L(all) => all
            .iter()
            .for_each(|value| attribute(value, look, whereabouts)),
        AttributeValue::M(all) => {
            for (name, value) in all {
                look.at(name.as_bytes(), whereabouts);
                attribute(value, look, whereabouts);
            }
        }
        _ => {}
    }
}

/// Queues of throwaway projects. What is read stays visible to their consumers.
pub struct Queues {
    pub client: aws_sdk_sqs::Client,
    pub urls: Vec<String>,
}

impl Place for Queues {
    fn name(&self) -> String {
        format!("{} queues", self.urls.len())
    }

    async fn read(&self, look: &mut Look<'_>) -> Result<(), String> {
        for url in &self.urls {
            let mut known = BTreeSet::new();
            loop {
                let receive = self
                    .client
                    .receive_message()
                    .queue_url(url)
                    .max_number_of_messages(10)
                    .visibility_timeout(0)
                    .wait_time_seconds(0)
                    .send()
                    .await;
                let page = receive.map_err(|error| chain(&error))?;
                let mut is_new = false;
                for message in page.messages() {
                    let id = message.message_id().unwrap_or_default().to_owned();
                    is_new |= known.insert(id);
                    look.at(message.body().unwrap_or_default().as_bytes(), || {
                        url.clone()
                    });
                }
                if !is_new {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// Log groups, since a time in milliseconds since 1970.
pub struct LogGroups {
    pub logs: Logs,
    pub groups: Vec<String>,
    pub since: i64,
}

impl Place for LogGroups {
    fn name(&self) -> String {
        match self.groups.as_slice() {
            [group] => format!("log group {group}"),
            groups => format!("{} log groups", groups.len()),
        }
    }

    async fn read(&self, look: &mut Look<'_>) -> Result<(), String> {
        for group in &self.groups {
            let mut token: Option<String> = None;
            loop {
                let page = self
                    .logs
                    .events_since(group, self.since, token.as_deref())
                    .await;
                let page = match page {
                    Ok(page) => page,
                    // Nothing was ever written to it.
                    Err(error) if code(&error) == Some("ResourceNotFoundException") => break,
                    Err(error) => return Err(format!("{group}: {}", chain(&error))),
                };
                for message in &page.messages {
                    look.at(message.as_bytes(), || group.clone());
                }
                token = page.next;
                if token.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }
}

fn code(error: &sealfleet_aws_json::CallError) -> Option<&str> {
    use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
    error.as_service_error().and_then(|refused| refused.code())
}

/// The archived trail of a project.
pub struct Archived {
    pub bucket: S3,
    pub project: String,
}

impl Place for Archived {
    fn name(&self) -> String {
        format!("the archived trail of {}", self.project)
    }

    async fn read(&self, look: &mut Look<'_>) -> Result<(), String> {
        let prefix = objects::ObjectName::days(&self.project);
        let listed = self.bucket.list(&prefix, None).await;
        for object in listed.map_err(|error| error.to_string())? {
            let read = self.bucket.get(&object.key).await;
            let Some(bytes) = read.map_err(|error| error.to_string())? else {
                continue;
            };
            look.at(&bytes, || object.key.clone());
            if let Ok(inside) = objects::content(&object.key, &bytes) {
                look.at(&inside, || object.key.clone());
            }
        }
        Ok(())
    }
}

/// Files below a directory. A sandbox's root directory, which links the host's, is left out.
pub struct Files {
    pub directory: PathBuf,
}

impl Place for Files {
    fn name(&self) -> String {
        "the worker's files".to_owned()
    }

    async fn read(&self, look: &mut Look<'_>) -> Result<(), String> {
        let mut waiting = vec![self.directory.clone()];
        while let Some(directory) = waiting.pop() {
            let entries = std::fs::read_dir(&directory).map_err(|error| error.to_string())?;
            for entry in entries {
                let entry = entry.map_err(|error| error.to_string())?;
                let kind = entry.file_type().map_err(|error| error.to_string())?;
                if kind.is_dir() && entry.file_name() != "rootfs" {
                    waiting.push(entry.path());
                } else if kind.is_file() {
                    let bytes = std::fs::read(entry.path()).map_err(|error| error.to_string())?;
                    look.at(&bytes, || entry.path().display().to_string());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::operator::prove::canary::Canary;
    use crate::operator::prove::fake::{RUN, api};

    /// A place with these pieces, as one of the others would show them.
    struct Pieces(Vec<String>);

    impl Place for Pieces {
        fn name(&self) -> String {
            "here".to_owned()
        }

        async fn read(&self, look: &mut Look<'_>) -> Result<(), String> {
            for piece in &self.0 {
                look.at(piece.as_bytes(), || "this piece".to_owned());
            }
            Ok(())
        }
    }

    struct Closed;

    impl Place for Closed {
        fn name(&self) -> String {
            "there".to_owned()
        }

        async fn read(&self, _: &mut Look<'_>) -> Result<(), String> {
            Err("AccessDenied".to_owned())
        }
    }

    #[tokio::test]
    async fn a_planted_canary_is_found_and_a_search_without_its_mark_proves_nothing() {
        let canary = Canary::new("canary A");
        let needle = Needle::of(&[&canary]).expect("a needle");
        let clean = Pieces(vec!["run_1 has ended".to_owned()]);
        assert!(nowhere(&[clean], &needle, "run_1").await.is_ok());

        let planted = [
            Pieces(vec!["run_1".to_owned()]),
            Pieces(vec![format!("run_1 said {}", canary.value())]),
        ];
        assert_eq!(
            nowhere(&planted, &needle, "run_1").await,
            Err(Why::Broken(
                "found this piece: canary A in plain text".to_owned()
            ))
        );
        let unmarked = [Pieces(vec![canary.value().to_owned()])];
        assert!(matches!(
            nowhere(&unmarked, &needle, "run_1").await,
            Err(Why::Broken(_))
        ));

        let elsewhere = [Pieces(vec!["another run".to_owned()])];
        assert!(matches!(
            nowhere(&elsewhere, &needle, "run_1").await,
            Err(Why::NotTried(why)) if why.contains("proves nothing")
        ));
        assert_eq!(
            nowhere(&[Closed], &needle, "run_1").await,
            Err(Why::NotTried("there: AccessDenied".to_owned()))
        );
    }

    #[test]
    fn a_packed_attribute_is_looked_into() {
        let canary = Canary::new("canary A");
        let needle = Needle::of(&[&canary]).expect("a needle");
        let look = |value: AttributeValue| {
            let mut look = Look {
                needle: &needle,
                mark: None,
                pieces: 0,
                bytes: 0,
                found: Vec::new(),
            };
            attribute(&value, &mut look, &|| "row".to_owned());
            look.found.len()
        };
        let note = serde_json::json!({ "note": canary.value() });
        let packed = sealfleet_ledger::pack(&note).expect("packed");
        let packed = AttributeValue::B(aws_sdk_dynamodb::primitives::Blob::new(packed));
        assert_eq!(look(packed.clone()), 1);
        let inside = HashMap::from([("x".to_owned(), AttributeValue::L(vec![packed]))]);
        assert_eq!(look(AttributeValue::M(inside)), 1);
        assert_eq!(look(AttributeValue::S(canary.value().to_owned())), 1);
        assert_eq!(look(AttributeValue::S("nothing".to_owned())), 0);
    }

    /// Every answer is heard, also one that the client cannot read.
    #[tokio::test]
    async fn an_answer_with_a_canary_is_broken() {
        let canary = Canary::new("canary A");
        let ear = Arc::new(Ear::new(Needle::of(&[&canary]).expect("a needle")));
        let asked = async |note: String| {
            let ear = Arc::clone(&ear);
            let client = api(move |_, _| (200, serde_json::json!({ "note": note })));
            let client = client.heard_by(move |answer| ear.hear(answer));
            let id = RUN.parse().expect("an id");
            assert!(client.get_run(id).await.is_err(), "it is no run");
        };
        assert!(matches!(answers(&ear), Err(Why::NotTried(_))));
        asked("nothing".to_owned()).await;
        assert_eq!(answers(&ear), Ok("1 answers".to_owned()));
        asked(canary.value().to_owned()).await;
        assert!(matches!(answers(&ear), Err(Why::Broken(_))));
    }
}
