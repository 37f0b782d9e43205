//! Searches the places where the control plane, and AWS on its behalf, keep what they are told.
//!
//! A search that reads nothing finds nothing. So each search must also find a mark that has to be
//! there, the id of a run for example, or it shows nothing.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use aho_corasick::AhoCorasick;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
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

/// What a search of one place has seen so far.
pub struct Look<'a> {
    needle: &'a Needle,
    /// The place's name.
    place: String,
    /// Those that are not found yet.
    marks: Vec<AhoCorasick>,
    pieces: usize,
    bytes: usize,
    found: Vec<String>,
}

impl<'a> Look<'a> {
    fn new(needle: &'a Needle, place: String, marks: &[&str]) -> Result<Self, Why> {
        let marks = marks.iter().map(|mark| AhoCorasick::new([mark]));
        let marks = marks.collect::<Result<_, _>>();
        Ok(Self {
            needle,
            place,
            marks: marks.map_err(|error| Why::NotTried(error.to_string()))?,
            pieces: 0,
            bytes: 0,
            found: Vec::new(),
        })
    }

    pub fn at(&mut self, piece: &[u8], whereabouts: impl FnOnce() -> String) {
        self.pieces += 1;
        self.bytes += piece.len();
        if let Some(found) = self.needle.find(piece) {
            let mut whereabouts = whereabouts();
            // A name may be what holds it.
            if self.needle.find(whereabouts.as_bytes()).is_some() {
                whereabouts.clone_from(&self.place);
            }
            self.found.push(format!("{whereabouts}: {found}"));
        }
        self.marks.retain(|mark| !mark.is_match(piece));
    }
}

/// Looks at these places for the needle. Each of the texts `marks` must be in each of the places.
pub async fn nowhere(places: &[impl Place], needle: &Needle, marks: &[&str]) -> Seen {
    let (mut pieces, mut bytes) = (0, 0);
    let mut found = Vec::new();
    let mut not_read = Vec::new();
    for place in places {
        let mut look = Look::new(needle, place.name(), marks)?;
        let read = place.read(&mut look).await;
        pieces += look.pieces;
        bytes += look.bytes;
        found.extend(look.found);
        if let Err(reason) = read {
            not_read.push(format!("{}: {reason}", look.place));
        } else if !look.marks.is_empty() {
            not_read.push(format!(
                "{}: what must be there was not found in {} pieces, so that this search proves nothing",
                look.place, look.pieces
            ));
        }
    }
    if !found.is_empty() {
        found.truncate(10);
        return Err(Why::Broken(format!("found {}", found.join("; "))));
    }
    if !not_read.is_empty() {
        return Err(Why::NotTried(not_read.join("\n")));
    }
    if pieces == 0 {
        return Err(Why::NotTried("nothing was read".to_owned()));
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
        return Err(Why::Broken(format!("found {}", found.join("; "))));
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
                    let whereabouts = || format!("{}, `{name}`", self.name);
                    look.at(name.as_bytes(), whereabouts);
                    attribute(value, look, &whereabouts);
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
        AttributeValue::B(bytes) => packed(bytes.as_ref(), look, whereabouts),
        AttributeValue::Bs(all) => {
            for bytes in all {
                packed(bytes.as_ref(), look, whereabouts);
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

fn packed(bytes: &[u8], look: &mut Look<'_>, whereabouts: &dyn Fn() -> String) {
    look.at(bytes, whereabouts);
    if let Ok(inside) = sealfleet_ledger::unpack::<serde_json::Value>(bytes) {
        look.at(inside.to_string().as_bytes(), whereabouts);
    }
}

/// Queues of throwaway projects. What is read stays visible to their consumers.
pub struct Queues {
    pub client: aws_sdk_sqs::Client,
    pub urls: Vec<String>,
}

/// How often a queue is read: a message may arrive, or come back, while it is.
const ROUNDS: u32 = 5;

impl Place for Queues {
    fn name(&self) -> String {
        format!("{} queues", self.urls.len())
    }

    async fn read(&self, look: &mut Look<'_>) -> Result<(), String> {
        for url in &self.urls {
            let mut known = BTreeSet::new();
            let mut waiting = 0;
            for _ in 0..ROUNDS {
                // A page without anything new is the end.
                while self.page(url, &mut known, look).await? {}
                waiting = self.waiting(url).await?;
                if known.len() >= waiting {
                    break;
                }
            }
            if known.len() < waiting {
                return Err(format!(
                    "{url}: {} of about {waiting} messages could be read",
                    known.len()
                ));
            }
        }
        Ok(())
    }
}

impl Queues {
    /// Looks at some messages, and tells whether one of them is new.
    async fn page(
        &self,
        url: &str,
        known: &mut BTreeSet<String>,
        look: &mut Look<'_>,
    ) -> Result<bool, String> {
        let receive = self.client.receive_message().queue_url(url);
        let receive = receive
            .max_number_of_messages(10)
            .message_attribute_names("All")
            .visibility_timeout(0)
            // Without a wait SQS asks some of its servers, and may find nothing where something is.
            .wait_time_seconds(1)
            .send()
            .await;
        let page = receive.map_err(|error| format!("{url}: {}", chain(&error)))?;
        let before = known.len();
        let whereabouts = || url.to_owned();
        for message in page.messages() {
            if !known.insert(message.message_id().unwrap_or_default().to_owned()) {
                continue;
            }
            look.at(message.body().unwrap_or_default().as_bytes(), whereabouts);
            for (name, value) in message.message_attributes().into_iter().flatten() {
                look.at(name.as_bytes(), whereabouts);
                look.at(
                    value.string_value().unwrap_or_default().as_bytes(),
                    whereabouts,
                );
                look.at(
                    value.binary_value().map(AsRef::as_ref).unwrap_or_default(),
                    whereabouts,
                );
            }
        }
        Ok(known.len() > before)
    }

    /// About how many messages can be received.
    async fn waiting(&self, url: &str) -> Result<usize, String> {
        let asked = self.client.get_queue_attributes().queue_url(url);
        let asked = asked.attribute_names(QueueAttributeName::ApproximateNumberOfMessages);
        let told = asked.send().await;
        let told = told.map_err(|error| format!("{url}: {}", chain(&error)))?;
        let number = told
            .attributes()
            .and_then(|all| all.get(&QueueAttributeName::ApproximateNumberOfMessages));
        let number = number.and_then(|number| number.parse().ok());
        number.ok_or_else(|| format!("{url}: SQS does not tell how many messages there are"))
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
                let page = page.map_err(|error| format!("{group}: {}", chain(&error)))?;
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
            let key = object.key;
            look.at(key.as_bytes(), || key.clone());
            let read = self.bucket.get(&key).await;
            let read = read.map_err(|error| format!("{key}: {error}"))?;
            let bytes = read.ok_or_else(|| format!("{key}: it is listed and cannot be read"))?;
            look.at(&bytes, || key.clone());
            let inside = objects::content(&key, &bytes);
            let inside = inside.map_err(|error| format!("{key}: {error}"))?;
            look.at(&inside, || key.clone());
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
                let path = entry.path().display().to_string();
                look.at(path.as_bytes(), || path.clone());
                let kind = entry.file_type().map_err(|error| error.to_string())?;
                if kind.is_dir() && entry.file_name() != "rootfs" {
                    waiting.push(entry.path());
                } else if kind.is_file() {
                    let bytes = std::fs::read(entry.path());
                    let bytes = bytes.map_err(|error| format!("{path}: {error}"))?;
                    look.at(&bytes, || path.clone());
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
        assert!(nowhere(&[clean], &needle, &["run_1"]).await.is_ok());

        let planted = [
            Pieces(vec!["run_1".to_owned()]),
            Pieces(vec![format!("run_1 said {}", canary.value())]),
        ];
        assert_eq!(
            nowhere(&planted, &needle, &["run_1"]).await,
            Err(Why::Broken(
                "found this piece: canary A in plain text".to_owned()
            ))
        );
        let unmarked = [Pieces(vec![canary.value().to_owned()])];
        assert!(matches!(
            nowhere(&unmarked, &needle, &["run_1"]).await,
            Err(Why::Broken(_))
        ));

        let elsewhere = [Pieces(vec!["another run".to_owned()])];
        assert!(matches!(
            nowhere(&elsewhere, &needle, &["run_1"]).await,
            Err(Why::NotTried(why)) if why.contains("proves nothing")
        ));
        assert_eq!(
            nowhere(&[Closed], &needle, &["run_1"]).await,
            Err(Why::NotTried("there: AccessDenied".to_owned()))
        );
    }

    #[test]
    fn a_packed_attribute_is_looked_into() {
        let canary = Canary::new("canary A");
        let needle = Needle::of(&[&canary]).expect("a needle");
        let look = |value: AttributeValue| {
            let mut look = Look::new(&needle, "here".to_owned(), &[]).expect("a look");
            attribute(&value, &mut look, &|| "row".to_owned());
            look.found.len()
        };
        let note = serde_json::json!({ "note": canary.value() });
        let packed = sealfleet_ledger::pack(&note).expect("packed");
        let packed = aws_sdk_dynamodb::primitives::Blob::new(packed);
        assert_eq!(look(AttributeValue::Bs(vec![packed.clone()])), 1);
        let packed = AttributeValue::B(packed);
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
            let client = client.heard_by(move |asked, answer| ear.hear(asked, answer));
            let id = RUN.parse().expect("an id");
            assert!(client.get_run(id).await.is_err(), "it is no run");
        };
        assert!(matches!(answers(&ear), Err(Why::NotTried(_))));
        asked("nothing".to_owned()).await;
        assert_eq!(answers(&ear), Ok("1 answers".to_owned()));
        asked(canary.value().to_owned()).await;
        let found = format!("found GET /v1/runs/{RUN}: canary A in plain text");
        assert_eq!(answers(&ear), Err(Why::Broken(found)));
    }

    #[tokio::test]
    async fn a_canary_in_a_file_is_found_and_a_file_that_is_not_read_is_told() {
        let canary = Canary::new("canary A");
        let needle = Needle::of(&[&canary]).expect("a needle");
        let directory = tempfile::tempdir().expect("a directory");
        let below = directory.path().join("output/run");
        std::fs::create_dir_all(&below).expect("directories");
        std::fs::write(directory.path().join("worker.log"), "mark").expect("a file");
        let search = async || {
            let files = Files {
                directory: directory.path().to_owned(),
            };
            nowhere(&[files], &needle, &["mark"]).await
        };
        assert!(search().await.is_ok());
        for file in [directory.path().join("store"), below.join("1.log")] {
            std::fs::write(&file, canary.value()).expect("a file");
            let found = format!("found {}: canary A in plain text", file.display());
            assert_eq!(search().await, Err(Why::Broken(found)));
            std::fs::remove_file(&file).expect("removed");
        }
        std::fs::create_dir_all(below.join(canary.value())).expect("directories");
        let found = "the worker's files: canary A in plain text";
        assert!(
            matches!(search().await, Err(Why::Broken(told)) if told.contains(found)),
            "a name that holds it is found, and is not told"
        );
        std::fs::remove_dir_all(&below).expect("removed");
        std::fs::remove_file(directory.path().join("worker.log")).expect("removed");
        assert!(matches!(search().await, Err(Why::NotTried(_))));
        std::fs::remove_dir_all(directory.path()).expect("removed");
        assert!(matches!(search().await, Err(Why::NotTried(_))));
    }

    /// A name that holds a canary is a find, and is not repeated.
    #[tokio::test]
    async fn a_name_that_holds_a_canary_is_not_printed() {
        let canary = Canary::new("canary A");
        let needle = Needle::of(&[&canary]).expect("a needle");
        let mut look = Look::new(&needle, "table t".to_owned(), &[]).expect("a look");
        let name = format!("t, `{}`", canary.value());
        look.at(canary.value().as_bytes(), || name.clone());
        assert_eq!(look.found, ["table t: canary A in plain text"]);
    }
}
