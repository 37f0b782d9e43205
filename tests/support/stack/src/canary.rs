//! Searches everything that the control plane and the workers hold for a value that none of them
//! may hold.
//!
//! A search for the whole value would miss what is left of it in freed memory, of which an
//! allocator overwrites the first bytes: it looks for a slice out of the middle, in each form that
//! the value may have been written in. And a search that finds nothing proves nothing unless it can
//! find something: [`Search::proves_itself`] plants a needle in each kind of place, finds it there,
//! and takes it away.
//!
//! MiniStack and `local-ecs` are not searched: they stand in for Secrets Manager and for ECS, which
//! hold values by their nature.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sealfleet_archive::objects;
use sealfleet_domain::encodings;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::aws::Service;
use crate::trail::packed;
use crate::{Caller, Outcome, Stack, ensure, unique};

/// A value to search for.
pub struct Needle {
    forms: Vec<&'static str>,
    matcher: AhoCorasick,
}

/// A kind of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An item of a table.
    Item,
    /// A record of a table's stream.
    Record,
    /// A message of a queue.
    Message,
    /// An event of a log stream, and the names of the streams.
    LogEvent,
    /// An object in S3.
    Object,
    /// An answer of the HTTP API.
    Answer,
    /// What ECS shows of task definitions and tasks.
    Task,
    /// The memory of a process.
    Memory,
    /// The arguments and the environment of a process.
    Arguments,
    /// A file of a worker or of the stack's own logs and journals.
    File,
}

/// A value that cannot occur by chance, and differs in all its encodings.
pub fn value() -> String {
    let half = || uuid::Uuid::new_v4().simple();
    format!("sk-canary+{}/=&%{}", half(), half())
}

/// The places that a search read, and where it found a secret.
#[derive(Debug, Default)]
pub struct Report {
    /// How many places of each kind were read.
    pub places: BTreeMap<Kind, usize>,
    /// Bytes that were read.
    pub bytes: usize,
    /// Where the needle was found, and in which form.
    pub found: Vec<(Kind, String, &'static str)>,
}

/// Where to look beside the stack's own tables, queues, logs, buckets and functions.
#[derive(Default, Clone)]
pub struct Search {
    /// Callers whose lists and runs are read.
    pub callers: Vec<Caller>,
    /// Processes to look into, such as workers.
    pub processes: Vec<u32>,
    /// Directories whose files are read, such as a worker's.
    pub directories: Vec<PathBuf>,
}

impl Needle {
    /// A needle that finds `value`, of 32 bytes at least, in any of its forms.
    pub fn new(value: &str) -> Outcome<Self> {
        Self::any(&[value])
    }

    /// A needle that finds any of `values`: one search for all of them.
    pub fn any(values: &[&str]) -> Outcome<Self> {
        let mut forms: Vec<(&'static str, Vec<u8>)> = Vec::new();
        for value in values {
            ensure!(
                value.len() >= 32 && value.is_ascii(),
                "a canary has 32 ASCII characters at least"
            );
            forms.extend(encodings::forms(encodings::middle(value.as_bytes())));
        }
        // The prefilters are vector code, ten times slower than the automaton alone where it is not
        // optimised: in tests.
        let mut automaton = AhoCorasick::builder();
        automaton.kind(Some(AhoCorasickKind::DFA)).prefilter(false);
        let matcher = automaton.build(forms.iter().map(|(_, form)| form.as_slice()))?;
        Ok(Self {
            forms: forms.into_iter().map(|(name, _)| name).collect(),
            matcher,
        })
    }

    /// The form in which the needle stands in `haystack`, if it does.
    pub fn find(&self, haystack: &[u8]) -> Option<&'static str> {
        let found = self.matcher.find(haystack)?;
        self.forms.get(found.pattern().as_usize()).copied()
    }

    /// Bytes of the longest form.
    fn longest(&self) -> usize {
        self.matcher.max_pattern_len()
    }
}

impl Report {
    fn look(&mut self, needle: &Needle, kind: Kind, place: impl FnOnce() -> String, bytes: &[u8]) {
        *self.places.entry(kind).or_default() += 1;
        self.bytes += bytes.len();
        if let Some(form) = needle.find(bytes) {
            self.found.push((kind, place(), form));
        }
    }

    /// Whether the needle was found in a kind of place.
    pub fn found_in(&self, kind: Kind) -> bool {
        self.found.iter().any(|(found, _, _)| *found == kind)
    }

    /// Nothing was found, and each kind of place was searched.
    pub fn ensure_clean(&self, when: &str) -> Outcome {
        let found = &self.found;
        ensure!(found.is_empty(), "a secret was found {when}: {found:?}");
        for kind in [
            Kind::Item,
            Kind::Record,
            Kind::LogEvent,
            Kind::Object,
            Kind::Answer,
            Kind::Memory,
            Kind::File,
        ] {
            let searched = self.places.get(&kind).is_some_and(|count| *count > 0);
            ensure!(searched, "no {kind:?} was searched: {}", self.summary());
        }
        Ok(())
    }

    /// One line for people: how much was searched.
    pub fn summary(&self) -> String {
        let places: Vec<String> = self
            .places
            .iter()
            .map(|(kind, count)| format!("{count} {kind:?}"))
            .collect();
        format!(
            "{} MiB searched: {}",
            self.bytes / 1024 / 1024,
            places.join(", ")
        )
    }
}

impl Search {
    pub async fn run(&self, stack: &Stack, needle: &Needle) -> Outcome<Report> {
        let mut report = Report::default();
        // Memory first: what the search itself asks for passes through the control plane's memory.
        let mut processes = stack.control_plane();
        processes.extend(&self.processes);
        for pid in processes {
            search_process(needle, pid, &mut report);
        }
        for directory in &self.directories {
            search_files(needle, directory, &mut report)?;
        }
        search_tables(stack, needle, &mut report).await?;
        search_streams(stack, needle, &mut report).await?;
        search_queues(stack, needle, &mut report).await?;
        search_logs(stack, needle, &mut report).await?;
        search_objects(stack, needle, &mut report).await?;
        search_tasks(stack, needle, &mut report).await?;
        for caller in &self.callers {
            search_answers(caller, needle, &mut report).await?;
        }
        Ok(report)
    }

    /// Plants a needle in a place of each kind, finds it in every one of them, and takes it away
    /// again.
    pub async fn proves_itself(&self, stack: &Stack) -> Outcome {
        let value = format!(
            "planted+needle/{}={}",
            unique(),
            uuid::Uuid::now_v7().simple()
        );
        let needle = Needle::new(&value)?;
        let mut planted = Planted::plant(stack, &value).await?;
        let mut with_planted = self.clone();
        with_planted.processes.extend(planted.process.id());
        with_planted.directories.push(planted.directory.clone());
        let found = with_planted.run(stack, &needle).await;
        planted.remove(stack).await?;
        let found = found?;
        let kinds = [
            Kind::Item,
            Kind::Record,
            Kind::Message,
            Kind::LogEvent,
            Kind::Object,
            Kind::Memory,
            Kind::Arguments,
            Kind::File,
        ];
        for kind in kinds {
            ensure!(
                found.found_in(kind),
                "a needle that was planted was not found as {kind:?}; {}",
                found.summary()
            );
        }
        for caller in &self.callers {
            answers_prove_themselves(caller).await?;
        }
        for (form, encoded) in encodings::forms(value.as_bytes()) {
            ensure!(
                needle.find(&encoded).is_some(),
                "a needle in {form} was not found"
            );
        }
        let packed = packed(&json!({ "note": value }))?;
        ensure!(
            needle
                .find(readable(&json!({ "note": packed })).as_bytes())
                .is_some(),
            "a packed needle was not found"
        );
        let left = self.run(stack, &needle).await?;
        ensure!(
            left.found.is_empty(),
            "a removed needle is still found: {:?}",
            left.found
        );
        Ok(())
    }
}

/// A note of a token is what a caller can plant in an answer. Its row stays, so it is a needle of
/// its own.
async fn answers_prove_themselves(caller: &Caller) -> Outcome {
    let note = format!("planted+note/{}", uuid::Uuid::now_v7().simple());
    let needle = Needle::new(&note)?;
    let made = caller
        .token(&json!({ "role": "viewer", "note": note }))
        .await?;
    let mut report = Report::default();
    search_answers(caller, &needle, &mut report).await?;
    caller
        .client()
        .revoke_token(None, made.view.token_id)
        .await?;
    ensure!(
        report.found_in(Kind::Answer),
        "a needle that was planted was not found in an answer"
    );
    Ok(())
}

/// The needles that [`Search::proves_itself`] planted.
struct Planted {
    name: String,
    queue_url: String,
    directory: PathBuf,
    process: tokio::process::Child,
}

impl Planted {
    async fn plant(stack: &Stack, value: &str) -> Outcome<Self> {
        let aws = &stack.aws;
        let name = format!("sealfleet-planted-{}", unique());
        let table = json!({
            "TableName": name, "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
            "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "NEW_IMAGE" },
        });
        aws.call(Service::DynamoDb, "CreateTable", table).await?;
        let put = json!({ "TableName": name, "Item": { "pk": { "S": "planted" }, "note": { "S": value } } });
        aws.call(Service::DynamoDb, "PutItem", put).await?;

        let queue = aws
            .call(Service::Sqs, "CreateQueue", json!({ "QueueName": name }))
            .await?;
        let queue_url = crate::api::text(&queue, "QueueUrl")?;
        let message = json!({ "QueueUrl": queue_url, "MessageBody": value });
        aws.call(Service::Sqs, "SendMessage", message).await?;

        aws.call(
            Service::Logs,
            "CreateLogGroup",
            json!({ "logGroupName": name }),
        )
        .await?;
        let stream = json!({ "logGroupName": name, "logStreamName": "planted" });
        aws.call(Service::Logs, "CreateLogStream", stream.clone())
            .await?;
        let events = json!({ "logEvents": [{ "timestamp": millis(), "message": value }] });
        aws.call(
            Service::Logs,
            "PutLogEvents",
            crate::project::merged(stream, &events),
        )
        .await?;

        aws.create_bucket(&name).await?;
        aws.put_object(&name, "planted.gz", &objects::pack(value.as_bytes())?)
            .await?;

        let directory = stack.scratch.join(&name);
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join("planted"), value)?;

        // `sleep` neither reads nor prints its environment: it is only there, in its memory.
        let mut sleep = Command::new("sleep");
        sleep
            .arg("600")
            .env("PLANTED", value)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let process = sleep.spawn()?;
        Ok(Self {
            name,
            queue_url,
            directory,
            process,
        })
    }

    async fn remove(&mut self, stack: &Stack) -> Outcome {
        let aws = &stack.aws;
        aws.call(
            Service::DynamoDb,
            "DeleteTable",
            json!({ "TableName": self.name }),
        )
        .await?;
        aws.call(
            Service::Sqs,
            "DeleteQueue",
            json!({ "QueueUrl": self.queue_url }),
        )
        .await?;
        aws.call(
            Service::Logs,
            "DeleteLogGroup",
            json!({ "logGroupName": self.name }),
        )
        .await?;
        aws.delete_bucket(&self.name, "planted.gz").await?;
        std::fs::remove_dir_all(&self.directory)?;
        self.process.kill().await?;
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a log event has a time, and CloudWatch refuses old ones"
)]
fn millis() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

async fn search_tables(stack: &Stack, needle: &Needle, report: &mut Report) -> Outcome {
    for table in names(stack, Service::DynamoDb, "ListTables", "TableNames", "").await? {
        let scan = json!({ "TableName": table, "ConsistentRead": true });
        stack
            .aws
            .pages(
                Service::DynamoDb,
                "Scan",
                scan,
                ("LastEvaluatedKey", "ExclusiveStartKey"),
                |page, _| {
                    for item in page["Items"].as_array().into_iter().flatten() {
                        let place = || format!("{table}: {} {}", item["pk"]["S"], item["sk"]["S"]);
                        report.look(needle, Kind::Item, place, readable(item).as_bytes());
                    }
                },
            )
            .await?;
    }
    Ok(())
}

/// A row or a record as text, with all that is packed in it.
fn readable(value: &Value) -> String {
    let mut text = value.to_string();
    let mut inside = vec![value];
    while let Some(value) = inside.pop() {
        match value {
            Value::Object(members) => inside.extend(members.values()),
            Value::Array(elements) => inside.extend(elements),
            Value::String(bytes) => {
                let bytes = STANDARD.decode(bytes).unwrap_or_default();
                let unpacked = sealfleet_ledger::unpack::<Value>(&bytes);
                text.extend(unpacked.iter().map(Value::to_string));
            }
            _ => {}
        }
    }
    text
}

async fn search_streams(stack: &Stack, needle: &Needle, report: &mut Report) -> Outcome {
    let streams = stack
        .aws
        .call(Service::Streams, "ListStreams", json!({}))
        .await?;
    for arn in texts(&streams["Streams"], "StreamArn") {
        let described = stack
            .aws
            .call(
                Service::Streams,
                "DescribeStream",
                json!({ "StreamArn": arn }),
            )
            .await?;
        for shard in texts(&described["StreamDescription"]["Shards"], "ShardId") {
            let start =
                json!({ "StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
            let mut iterator = stack
                .aws
                .call(Service::Streams, "GetShardIterator", start)
                .await?["ShardIterator"]
                .clone();
            // An open shard always has a next iterator: its end is a page without records.
            while iterator.is_string() {
                let page = json!({ "ShardIterator": iterator, "Limit": 1000 });
                let page = stack.aws.call(Service::Streams, "GetRecords", page).await?;
                let records = page["Records"].as_array().cloned().unwrap_or_default();
                if records.is_empty() {
                    break;
                }
                for record in records {
                    report.look(
                        needle,
                        Kind::Record,
                        || arn.clone(),
                        readable(&record).as_bytes(),
                    );
                }
                iterator = page["NextShardIterator"].clone();
            }
        }
    }
    Ok(())
}

async fn search_queues(stack: &Stack, needle: &Needle, report: &mut Report) -> Outcome {
    let listed = stack
        .aws
        .call(Service::Sqs, "ListQueues", json!({ "MaxResults": 1000 }))
        .await?;
    for url in listed["QueueUrls"].as_array().into_iter().flatten() {
        // With no visibility timeout the message is there for its consumer all the same.
        let mut seen = std::collections::BTreeSet::new();
        loop {
            let receive = json!({
                "QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 0, "WaitTimeSeconds": 0,
                "MessageAttributeNames": ["All"],
            });
            let page = stack
                .aws
                .call(Service::Sqs, "ReceiveMessage", receive)
                .await?;
            let messages = page["Messages"].as_array().cloned().unwrap_or_default();
            let fresh: Vec<&Value> = messages
                .iter()
                .filter(|message| seen.insert(message["MessageId"].to_string()))
                .collect();
            for message in &fresh {
                report.look(
                    needle,
                    Kind::Message,
                    || url.to_string(),
                    message.to_string().as_bytes(),
                );
            }
            if fresh.is_empty() {
                break;
            }
        }
    }
    Ok(())
}

async fn search_logs(stack: &Stack, needle: &Needle, report: &mut Report) -> Outcome {
    for group in names(
        stack,
        Service::Logs,
        "DescribeLogGroups",
        "logGroups",
        "logGroupName",
    )
    .await?
    {
        let of_group = json!({ "logGroupName": group });
        stack
            .aws
            .pages(
                Service::Logs,
                "FilterLogEvents",
                of_group,
                ("nextToken", "nextToken"),
                |page, _| {
                    for event in page["events"].as_array().into_iter().flatten() {
                        let place = || format!("{group}: {}", event["logStreamName"]);
                        report.look(needle, Kind::LogEvent, place, event.to_string().as_bytes());
                    }
                },
            )
            .await?;
    }
    Ok(())
}

async fn search_objects(stack: &Stack, needle: &Needle, report: &mut Report) -> Outcome {
    for bucket in stack.aws.buckets().await? {
        for key in stack.aws.keys(&bucket, "").await? {
            if let Some(bytes) = stack.aws.object(&bucket, &key).await? {
                report.look(needle, Kind::Object, || format!("{bucket}/{key}"), &bytes);
                if let Ok(unpacked) = objects::unpack(&bytes) {
                    report.look(
                        needle,
                        Kind::Object,
                        || format!("{bucket}/{key}, unpacked"),
                        &unpacked,
                    );
                }
            }
        }
    }
    Ok(())
}

async fn search_tasks(stack: &Stack, needle: &Needle, report: &mut Report) -> Outcome {
    let cluster = &stack.parts.cluster;
    for status in ["RUNNING", "STOPPED"] {
        let wanted = json!({ "cluster": cluster, "desiredStatus": status });
        let listed = stack.aws.call(Service::Ecs, "ListTasks", wanted).await?;
        let arns = listed["taskArns"].as_array().cloned().unwrap_or_default();
        for arns in arns.chunks(100) {
            let wanted = json!({ "cluster": cluster, "tasks": arns });
            let described = stack
                .aws
                .call(Service::Ecs, "DescribeTasks", wanted)
                .await?;
            for task in described["tasks"].as_array().into_iter().flatten() {
                report.look(
                    needle,
                    Kind::Task,
                    || task["taskArn"].to_string(),
                    task.to_string().as_bytes(),
                );
                let wanted = json!({ "taskDefinition": task["taskDefinitionArn"] });
                let definition = stack
                    .aws
                    .call(Service::Ecs, "DescribeTaskDefinition", wanted)
                    .await?;
                let place = || task["taskDefinitionArn"].to_string();
                report.look(needle, Kind::Task, place, definition.to_string().as_bytes());
            }
        }
    }
    Ok(())
}

async fn search_answers(caller: &Caller, needle: &Needle, report: &mut Report) -> Outcome {
    let cascade = caller.get("/v1/cascade").await?;
    report.look(
        needle,
        Kind::Answer,
        || cascade.asked.clone(),
        &cascade.bytes,
    );
    let lists = [
        "/v1/runs",
        "/v1/profiles",
        "/v1/revocations",
        "/v1/workers",
        "/v1/tokens",
        "/v1/enrolment-keys",
        "/v1/audit",
        "/v1/usage",
    ];
    for list in lists {
        let items = caller.list(list).await?;
        let member = match list {
            "/v1/runs" => "run_id",
            "/v1/profiles" => "name",
            "/v1/revocations" => "revocation_id",
            "/v1/workers" => "worker_id",
            _ => "",
        };
        for item in items {
            report.look(
                needle,
                Kind::Answer,
                || list.to_owned(),
                item.to_string().as_bytes(),
            );
            if let Some(id) = item[member].as_str() {
                let one = caller.get(&format!("{list}/{id}")).await?;
                report.look(needle, Kind::Answer, || one.asked.clone(), &one.bytes);
                if list == "/v1/profiles" {
                    let versions = caller.get(&format!("{list}/{id}/versions")).await?;
                    report.look(
                        needle,
                        Kind::Answer,
                        || versions.asked.clone(),
                        &versions.bytes,
                    );
                }
            }
        }
    }
    Ok(())
}

fn search_files(needle: &Needle, directory: &Path, report: &mut Report) -> Outcome {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            search_files(needle, &entry.path(), report)?;
        } else if kind.is_file() {
            // A file may go while it is looked for.
            let bytes = std::fs::read(entry.path()).unwrap_or_default();
            report.look(
                needle,
                Kind::File,
                || entry.path().display().to_string(),
                &bytes,
            );
        }
    }
    Ok(())
}

/// Looks into a process: all of its memory that can be written, and what anybody can see of it. One
/// that ends meanwhile is looked at as far as it goes.
pub fn search_process(needle: &Needle, pid: u32, report: &mut Report) {
    let place = || {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        format!(
            "process {pid} ({})",
            String::from_utf8_lossy(&arguments).replace('\0', " ")
        )
    };
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        report.look(
            needle,
            Kind::Arguments,
            || format!("{file} of {}", place()),
            &bytes,
        );
    }
    let Ok(memory) = File::open(format!("/proc/{pid}/mem")) else {
        return;
    };
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let overlap = needle.longest().saturating_sub(1) as u64;
    let mut chunk = vec![0; 4 * 1024 * 1024];
    for (start, end) in maps.lines().filter_map(writable_range) {
        let mut at = start;
        while at < end {
            let wanted = usize::try_from(end - at)
                .unwrap_or(usize::MAX)
                .min(chunk.len());
            let Some(buffer) = chunk.get_mut(..wanted) else {
                break;
            };
            let Ok(read) = memory.read_at(buffer, at) else {
                break;
            };
            if read == 0 {
                break;
            }
            report.look(
                needle,
                Kind::Memory,
                place,
                buffer.get(..read).unwrap_or_default(),
            );
            at += read as u64;
            if at < end {
                at -= overlap.min(read as u64 - 1);
            }
        }
    }
}

/// The files below a directory that hold the needle.
pub fn files_with(needle: &Needle, directory: &Path) -> Outcome<Vec<String>> {
    let mut held = Vec::new();
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Ok(held);
    };
    for entry in entries {
        let path = entry?.path();
        let about = std::fs::symlink_metadata(&path)?;
        if about.is_dir() {
            held.extend(files_with(needle, &path)?);
        } else if about.is_file() && needle.find(&std::fs::read(&path)?).is_some() {
            held.push(path.display().to_string());
        }
    }
    Ok(held)
}

/// A line of /proc/PID/maps (proc(5)), if it is of memory that the process has written.
fn writable_range(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    let range = (
        u64::from_str_radix(start, 16).ok()?,
        u64::from_str_radix(end, 16).ok()?,
    );
    permissions.starts_with("rw").then_some(range)
}

async fn names(
    stack: &Stack,
    service: Service,
    operation: &str,
    list: &str,
    member: &str,
) -> Outcome<Vec<String>> {
    let mut found = Vec::new();
    let cursor = if service == Service::Logs {
        ("nextToken", "nextToken")
    } else {
        ("LastEvaluatedTableName", "ExclusiveStartTableName")
    };
    stack
        .aws
        .pages(service, operation, json!({}), cursor, |page, _| {
            let all = page[list].as_array().into_iter().flatten();
            found.extend(all.filter_map(|one| {
                if member.is_empty() {
                    one.as_str()
                } else {
                    one[member].as_str()
                }
                .map(str::to_owned)
            }));
        })
        .await?;
    Ok(found)
}

fn texts(list: &Value, member: &str) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one[member].as_str().map(str::to_owned))
        .collect()
}
