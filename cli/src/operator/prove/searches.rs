//! Which places each check searches, and what must be found in them.

use sealfleet_aws::objects::S3;
use sealfleet_domain::{ProjectId, RunId, Timestamp};

use super::canary::Needle;
use super::ground::Ground;
use super::report::Seen;
use super::sandboxes::both;
use super::search::{Archived, LogGroups, Queues, Table, nowhere};

/// A throwaway project's queues, and the run whose message waits in that of its workers.
pub struct Waiting<'a> {
    pub pull_queue: &'a str,
    pub fargate_queue: &'a str,
    pub run: RunId,
}

/// Both tables hold rows of both projects.
pub async fn tables(ground: &Ground, needle: &Needle, projects: [&ProjectId; 2]) -> Seen {
    let table = |name: &str| Table {
        client: ground.dynamo.clone(),
        name: name.to_owned(),
    };
    let tables = [
        table(ground.output("LedgerTableName")?),
        table(ground.output("AuditTableName")?),
    ];
    nowhere(&tables, needle, &projects.map(ProjectId::as_str)).await
}

/// A message of each project waits in its queue: nobody has the labels for its step.
pub async fn queues(ground: &Ground, needle: &Needle, projects: [Waiting<'_>; 2]) -> Seen {
    let of = async |waiting: &Waiting<'_>| {
        let place = Queues {
            client: ground.sqs.clone(),
            // A message that is read too often goes to the dead letters. Those of Fargate pools are
            // read by Lambda, and live for seconds.
            urls: vec![
                waiting.pull_queue.to_owned(),
                format!("{}--dlq", waiting.pull_queue),
                format!("{}--dlq", waiting.fargate_queue),
            ],
        };
        nowhere(&[place], needle, &[&waiting.run.to_string()]).await
    };
    let [a, b] = &projects;
    both(of(a).await, of(b).await)
}

/// All log groups of the control plane must be there. Any event will do: functions do not log names
/// of projects.
pub async fn function_logs(ground: &Ground, needle: &Needle, since: Timestamp) -> Seen {
    let names = ground.output("FunctionNames")?.split(',');
    let mut groups: Vec<String> = names.map(|name| format!("/aws/lambda/{name}")).collect();
    groups.push(format!("/aws/vendedlogs/{}-api", ground.prefix));
    nowhere(&[log_groups(ground, groups, since)], needle, &[]).await
}

/// Every step of both projects prints the mark.
pub async fn sandbox_logs(
    ground: &Ground,
    needle: &Needle,
    since: Timestamp,
    projects: [&ProjectId; 2],
    mark: &str,
) -> Seen {
    let own = projects.map(|id| {
        let group = format!("/{}/{id}", ground.prefix);
        log_groups(ground, vec![group], since)
    });
    nowhere(&own, needle, &[mark]).await
}

fn log_groups(ground: &Ground, groups: Vec<String>, since: Timestamp) -> LogGroups {
    LogGroups {
        logs: ground.logs.clone(),
        groups,
        since: since.millis(),
    }
}

/// The archived trail of each project tells of its run.
pub async fn archive(ground: &Ground, needle: &Needle, runs: [(&ProjectId, RunId); 2]) -> Seen {
    let bucket = ground.output("AuditBucketName")?;
    let of = async |(project, run): (&ProjectId, RunId)| {
        let place = Archived {
            bucket: S3::new(&ground.config, bucket.to_owned()),
            project: project.to_string(),
        };
        nowhere(&[place], needle, &[&run.to_string()]).await
    };
    let [a, b] = runs;
    both(of(a).await, of(b).await)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use aws_config::retry::RetryConfig;
    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use aws_sdk_sqs::config::{Credentials, SharedCredentialsProvider};
    use sealfleet_archive::objects;
    use sealfleet_aws::trust::Roots;
    use serde_json::{Value, json};

    use super::*;
    use crate::cloudformation::Outputs;
    use crate::operator::prove::canary::Canary;
    use crate::operator::prove::fake::{self, Asked, RUN};
    use crate::operator::prove::ground::Caller;
    use crate::operator::prove::report::Why;

    /// Every place that a check reads, as AWS names it.
    const PLACES: [(&str, &[&str]); 5] = [
        ("canary-in-tables", &["sealfleet-ledger", "sealfleet-audit"]),
        (
            "canary-in-queues",
            &[
                "q/prove-a--workers",
                "q/prove-a--workers--dlq",
                "q/prove-a--fargate--dlq",
                "q/prove-b--workers",
                "q/prove-b--workers--dlq",
                "q/prove-b--fargate--dlq",
            ],
        ),
        (
            "canary-in-function-logs",
            &[
                "/aws/lambda/sealfleet-fleet",
                "/aws/lambda/sealfleet-claim",
                "/aws/vendedlogs/sealfleet-api",
            ],
        ),
        (
            "canary-in-sandbox-logs",
            &["/sealfleet/prove-a", "/sealfleet/prove-b"],
        ),
        (
            "canary-in-archive",
            &["audit/project=prove-a/", "audit/project=prove-b/"],
        ),
    ];
    const MARK: &str = "prove-mark";

    /// An AWS of places with two pages each.
    #[derive(Clone, Default)]
    struct Aws {
        pages: BTreeMap<String, [Vec<String>; 2]>,
        /// A page that is refused.
        denied: Option<(String, usize)>,
        /// Objects that are listed are refused, or are not there.
        objects: Option<u16>,
        /// How often each queue was received from.
        received: BTreeMap<String, usize>,
    }

    type Answer = (u16, Vec<u8>);

    fn refused(status: u16, code: &str) -> Answer {
        let text = json!({ "__type": code, "message": "no" }).to_string();
        (status, text.into_bytes())
    }

    impl Aws {
        /// With all that must be found, and nothing that must not.
        fn clean() -> Self {
            let all = PLACES.iter().flat_map(|(_, places)| *places);
            let pages = |place: &str| {
                // A dead letter may be of any run.
                let piece = match place.ends_with("--dlq") {
                    true => "another run".to_owned(),
                    false => format!("prove-a prove-b {RUN} {MARK}"),
                };
                [vec![piece.clone()], vec![piece]]
            };
            Self {
                pages: all
                    .map(|place| ((*place).to_owned(), pages(place)))
                    .collect(),
                ..Self::default()
            }
        }

        fn plant(mut self, place: &str, page: usize, value: &str) -> Self {
            let pages = self.pages.get_mut(place).expect("a place");
            pages[page].push(format!("it is {value}."));
            self
        }

        fn page(&self, place: &str, page: usize, absent: &str) -> Result<Vec<String>, Answer> {
            if self.denied == Some((place.to_owned(), page)) {
                return Err(refused(400, "AccessDeniedException"));
            }
            let pages = self.pages.get(place).ok_or_else(|| refused(400, absent))?;
            Ok(pages[page].clone())
        }

        fn answer(&mut self, asked: &Asked) -> Answer {
            let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
            let answered = match asked.header("x-amz-target") {
                Some("DynamoDB_20120810.Scan") => self.scan(&body),
                Some("AmazonSQS.ReceiveMessage") => self.receive(&body),
                Some("AmazonSQS.GetQueueAttributes") => self.count(&body),
                Some("Logs_20140328.FilterLogEvents") => self.events(&body),
                None if asked.method == "GET" => {
                    return self.object(&asked.path).unwrap_or_else(|refused| refused);
                }
                other => panic!("{other:?} is not asked for"),
            };
            match answered {
                Ok(answer) => (200, answer.to_string().into_bytes()),
                Err(refused) => refused,
            }
        }

        fn scan(&self, body: &Value) -> Result<Value, Answer> {
            let table = body["TableName"].as_str().unwrap_or_default();
            let page = usize::from(body.get("ExclusiveStartKey").is_some());
            let items = self.page(table, page, "ResourceNotFoundException")?;
            let items = items.iter().map(|piece| json!({ "note": { "S": piece } }));
            let mut answer = json!({ "Items": items.collect::<Vec<_>>() });
            if page == 0 {
                answer["LastEvaluatedKey"] = json!({ "pk": { "S": "first" } });
            }
            Ok(answer)
        }

        /// The second page is in attributes. What is visible is received again and again.
        fn receive(&mut self, body: &Value) -> Result<Value, Answer> {
            let url = body["QueueUrl"].as_str().unwrap_or_default();
            let before = self.received.get(url).copied().unwrap_or_default();
            self.received.insert(url.to_owned(), before + 1);
            let page = before.min(1);
            let pieces = self.page(url, page, "QueueDoesNotExist")?;
            let with_attributes = body["MessageAttributeNames"] == json!(["All"]);
            let messages = pieces.iter().enumerate().map(|(at, piece)| {
                let mut message = json!({ "MessageId": format!("{page}-{at}"), "Body": piece });
                if page == 1 {
                    message["Body"] = json!("in an attribute");
                }
                if page == 1 && with_attributes {
                    let note = json!({ "DataType": "String", "StringValue": piece });
                    message["MessageAttributes"] = json!({ "note": note });
                }
                message
            });
            Ok(json!({ "Messages": messages.collect::<Vec<_>>() }))
        }

        fn count(&self, body: &Value) -> Result<Value, Answer> {
            let url = body["QueueUrl"].as_str().unwrap_or_default();
            let [first, second] = self.pages.get(url).cloned().unwrap_or_default();
            let number = (first.len() + second.len()).to_string();
            Ok(json!({ "Attributes": { "ApproximateNumberOfMessages": number } }))
        }

        fn events(&self, body: &Value) -> Result<Value, Answer> {
            let group = body["logGroupName"].as_str().unwrap_or_default();
            let page = usize::from(body.get("nextToken").is_some());
            let events = self.page(group, page, "ResourceNotFoundException")?;
            let events = events.iter().map(|piece| json!({ "message": piece }));
            let mut answer = json!({ "events": events.collect::<Vec<_>>() });
            if page == 0 {
                answer["nextToken"] = json!("second");
            }
            Ok(answer)
        }

        /// A listing, or one of its objects: each piece is one.
        fn object(&self, path: &str) -> Result<Answer, Answer> {
            let path = path.replace("%2F", "/").replace("%3D", "=");
            if let Some(key) = path.strip_prefix("/archive/audit/") {
                if let Some(status) = self.objects {
                    let text = "<Error><Code>NoSuchKey</Code></Error>";
                    return Ok((status, text.as_bytes().to_vec()));
                }
                let mut all = self.objects_of(0).into_iter().chain(self.objects_of(1));
                let key = key.split('?').next().unwrap_or_default();
                let (_, piece) = all
                    .find(|(found, _)| *found == format!("audit/{key}"))
                    .ok_or_else(|| refused(404, "NoSuchKey"))?;
                return Ok((200, objects::pack(piece.as_bytes()).expect("packed")));
            }
            let page = usize::from(path.contains("continuation-token="));
            let prefix = path
                .split(['?', '&'])
                .find_map(|one| one.strip_prefix("prefix="));
            let prefix = prefix.unwrap_or_default();
            // Of a prefix with nothing below it, S3 lists nothing.
            if self.pages.contains_key(prefix) {
                self.page(prefix, page, "")?;
            }
            let all = self.objects_of(page).into_iter();
            let contents: String = all
                .filter(|(key, _)| key.starts_with(prefix))
                .map(|(key, _)| {
                    format!(
                        "<Contents><Key>{key}</Key><LastModified>2026-01-31T08:00:00.000Z\
                         </LastModified></Contents>"
                    )
                })
                .collect();
            let next = match page {
                0 => "<NextContinuationToken>second</NextContinuationToken>",
                _ => "",
            };
            let text = format!("<ListBucketResult>{contents}{next}</ListBucketResult>");
            Ok((200, text.into_bytes()))
        }

        fn objects_of(&self, page: usize) -> Vec<(String, String)> {
            let places = self.pages.iter();
            let archived = places.filter(|(place, _)| place.starts_with("audit/"));
            let all = archived.flat_map(|(place, pages)| {
                let pieces = pages[page].iter().enumerate();
                pieces.map(move |(at, piece)| {
                    let key = format!("{place}date=2026-01-31/{page}-{at}.jsonl.gz");
                    (key, piece.clone())
                })
            });
            all.collect()
        }
    }

    fn ground(aws: Aws) -> Ground {
        let aws = Arc::new(Mutex::new(aws));
        let url = fake::serve(move |asked| aws.lock().expect("unpoisoned").answer(asked));
        let keys = Credentials::new("a", "b", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .endpoint_url(&url)
            .credentials_provider(SharedCredentialsProvider::new(keys))
            .retry_config(RetryConfig::disabled())
            .http_client(Roots::Amazon.client().expect("a client"))
            .build();
        let outputs = [
            ("NamePrefix", "sealfleet"),
            ("LedgerTableName", "sealfleet-ledger"),
            ("AuditTableName", "sealfleet-audit"),
            ("AuditBucketName", "archive"),
            ("FunctionNames", "sealfleet-fleet,sealfleet-claim"),
        ];
        let outputs = outputs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let caller = Caller {
            arn: "arn:aws:iam::000000000000:user/prove".to_owned(),
            account: "000000000000".to_owned(),
        };
        let operator = fake::api(|_, _| (500, Value::Null));
        let control = Outputs::of("sealfleet", outputs);
        Ground::at(config, control, caller, url, operator).expect("a ground")
    }

    async fn search(check: &str, aws: Aws, canary: &Canary) -> Seen {
        let needle = Needle::of(&[canary]).expect("a needle");
        let ground = ground(aws);
        let projects: [ProjectId; 2] = ["prove-a", "prove-b"].map(|id| id.parse().expect("an id"));
        let [a, b] = &projects;
        let (run, since) = (RUN.parse().expect("an id"), Timestamp::from_millis(0));
        let waiting = |pull_queue, fargate_queue| Waiting {
            pull_queue,
            fargate_queue,
            run,
        };
        let queues_of = [
            waiting("q/prove-a--workers", "q/prove-a--fargate"),
            waiting("q/prove-b--workers", "q/prove-b--fargate"),
        ];
        let seen = match check {
            "canary-in-tables" => tables(&ground, &needle, [a, b]).await,
            "canary-in-queues" => queues(&ground, &needle, queues_of).await,
            "canary-in-function-logs" => function_logs(&ground, &needle, since).await,
            "canary-in-sandbox-logs" => sandbox_logs(&ground, &needle, since, [a, b], MARK).await,
            _ => archive(&ground, &needle, [(a, run), (b, run)]).await,
        };
        let text = format!("{seen:?}");
        assert_eq!(needle.find(text.as_bytes()), None, "a canary is printed");
        seen
    }

    /// What the report calls a place: of the archive, the project.
    fn told(place: &str) -> &str {
        let project = place.strip_prefix("audit/project=");
        project.map_or(place, |project| project.trim_end_matches('/'))
    }

    #[tokio::test]
    async fn a_canary_is_found_in_each_place_and_told_by_the_places_name() {
        let canary = Canary::new("canary A");
        for (check, places) in PLACES {
            let seen = search(check, Aws::clean(), &canary).await;
            assert!(seen.is_ok(), "{check}: {seen:?}");
            for (place, page) in places.iter().flat_map(|place| [(place, 0), (place, 1)]) {
                let planted = Aws::clean().plant(place, page, canary.value());
                let seen = search(check, planted, &canary).await;
                let Err(Why::Broken(found)) = &seen else {
                    panic!("{place}, page {page}: {seen:?}");
                };
                assert!(found.contains(told(place)), "{place}: {found}");
                assert!(found.contains("canary A in plain text"), "{found}");
            }
        }
    }

    /// What could not be read shows nothing, and what cannot be there was not looked for.
    #[tokio::test]
    async fn a_place_that_is_not_read_is_told_and_never_held() {
        let canary = Canary::new("canary A");
        let untried = async |check: &str, place: &str, what: &str, aws: Aws| {
            let seen = search(check, aws, &canary).await;
            assert!(
                matches!(&seen, Err(Why::NotTried(why)) if why.contains(told(place))),
                "{place} {what}: {seen:?}"
            );
        };
        for (check, places) in PLACES {
            for place in places {
                for page in 0..2 {
                    let mut aws = Aws::clean();
                    aws.denied = Some(((*place).to_owned(), page));
                    untried(check, place, &format!("denied at page {page}"), aws).await;
                }
                let mut aws = Aws::clean();
                aws.pages.remove(*place);
                untried(check, place, "absent", aws).await;
                // Dead letters and a function's log may be empty.
                if place.ends_with("--dlq") || check == "canary-in-function-logs" {
                    continue;
                }
                let mut aws = Aws::clean();
                aws.pages.insert((*place).to_owned(), [vec![], vec![]]);
                let seen = search(check, aws, &canary).await;
                assert!(
                    matches!(&seen, Err(Why::NotTried(why)) if why.contains("proves nothing")),
                    "{place} empty: {seen:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn what_is_told_to_be_there_and_is_not_shown_is_not_held() {
        let canary = Canary::new("canary A");
        let mut silent = Aws::clean();
        for place in PLACES[2].1 {
            silent.pages.insert((*place).to_owned(), [vec![], vec![]]);
        }
        let seen = search("canary-in-function-logs", silent, &canary).await;
        assert!(matches!(seen, Err(Why::NotTried(_))), "{seen:?}");

        // Messages that SQS counts and does not hand out.
        let place = "q/prove-a--workers--dlq";
        let mut hidden = Aws::clean();
        hidden.received.insert(place.to_owned(), 1);
        let seen = search("canary-in-queues", hidden, &canary).await;
        assert!(
            matches!(&seen, Err(Why::NotTried(why)) if why.contains("1 of about 2 messages")),
            "{seen:?}"
        );

        for status in [403, 404] {
            let mut gone = Aws::clean();
            gone.objects = Some(status);
            let seen = search("canary-in-archive", gone, &canary).await;
            assert!(matches!(seen, Err(Why::NotTried(_))), "{status}: {seen:?}");
        }
    }
}
