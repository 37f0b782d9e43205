//! The in-memory store and a DynamoDB give the same answers to the same operations.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use proptest::prelude::*;
use sealfleet_ledger::store::{
    Condition, Consistency, DueRow, Edit, Item, Key, Query, Range, Store, Table, Test, Write,
    WriteError,
};
use sealfleet_simulation::memory::{Call, Fault, Memory};

/// Sort keys whose order by UTF-8 bytes differs from that by UTF-16 units, by length and by letter.
const SORT_KEYS: [&str; 9] = [
    "a",
    "a#",
    "a#1",
    "a#10",
    "a#2",
    "B",
    "é",
    "\u{ffee}",
    "\u{10348}",
];
/// As DynamoDB writes them, which is how the ledger writes them too.
const NUMBERS: [&str; 4] = ["1", "2", "-3", "10"];

/// One operation on a store.
#[derive(Clone, Debug)]
enum Operation {
    Get(Table, Key),
    Query(Query, Option<String>),
    Due(String, i64, usize),
    Write(Vec<Write>),
}

/// An answer, as far as two stores must agree on it.
#[derive(Debug, PartialEq)]
enum Answer {
    Row(Option<Item>),
    Rows(Vec<Item>, Option<String>),
    /// All pages.
    Due(Vec<DueRow>),
    Written,
    Conditions(Vec<usize>),
    Busy,
    Refused,
}

async fn ask(store: &dyn Store, operation: &Operation) -> Answer {
    match operation.clone() {
        Operation::Get(table, key) => store
            .get(table, &key, Consistency::Strong)
            .await
            .map_or(Answer::Refused, Answer::Row),
        Operation::Query(query, after) => match store.query(&query, after.as_deref()).await {
            Ok(rows) => Answer::Rows(rows.items, rows.more_after),
            Err(_) => Answer::Refused,
        },
        Operation::Due(shard, until, limit) => {
            let mut rows: Vec<DueRow> = Vec::new();
            loop {
                let Ok(page) = store.due(&shard, until, rows.last(), limit).await else {
                    return Answer::Refused;
                };
                rows.extend(page.rows);
                if page.more_after.is_none() {
                    return Answer::Due(rows);
                }
                assert_eq!(page.more_after.as_ref(), rows.last());
            }
        }
        Operation::Write(writes) => match store.write(writes).await {
            Ok(()) => Answer::Written,
            Err(WriteError::Condition(at)) => Answer::Conditions(at),
            Err(WriteError::Busy) => Answer::Busy,
            Err(WriteError::Unavailable(_) | WriteError::Refused(_) | WriteError::TooLarge) => {
                Answer::Refused
            }
        },
    }
}

fn table() -> impl Strategy<Value = Table> {
    prop_oneof![4 => Just(Table::Ledger), 1 => Just(Table::Audit)]
}

fn partition() -> impl Strategy<Value = String> {
    prop_oneof![Just("p".to_owned()), Just("p#".to_owned())]
}

fn sort_key() -> impl Strategy<Value = String> {
    proptest::sample::select(SORT_KEYS.as_slice()).prop_map(str::to_owned)
}

fn key() -> impl Strategy<Value = Key> {
    (partition(), sort_key()).prop_map(|(pk, sk)| Key { pk, sk })
}

fn value() -> impl Strategy<Value = AttributeValue> {
    prop_oneof![
        3 => proptest::sample::select(NUMBERS.as_slice()).prop_map(|number| AttributeValue::N(number.to_owned())),
        2 => prop_oneof![Just("x"), Just("y")].prop_map(|text| AttributeValue::S(text.to_owned())),
        1 => Just(AttributeValue::Bool(true)),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let due = proptest::option::of((prop_oneof![Just("0"), Just("1")], 0_i64..40));
    (
        key(),
        proptest::option::of(value()),
        proptest::option::of(value()),
        (proptest::option::of(list()), proptest::option::of(0_i64..9)),
        due,
        any::<bool>(),
    )
        .prop_map(|(key, a, b, (list, sum), due, whole)| {
            let mut item = Item::from([
                ("pk".to_owned(), AttributeValue::S(key.pk)),
                ("sk".to_owned(), AttributeValue::S(key.sk)),
            ]);
            item.extend(a.map(|a| ("a".to_owned(), a)));
            item.extend(b.map(|b| ("b".to_owned(), b)));
            item.extend(list.map(|list| ("list".to_owned(), list)));
            item.extend(sum.map(|sum| ("sum".to_owned(), AttributeValue::N(sum.to_string()))));
            if let Some((shard, at)) = due {
                item.insert("due_at".to_owned(), AttributeValue::N(at.to_string()));
                // Without a shard the row is not in the index.
                if whole {
                    item.insert("due_shard".to_owned(), AttributeValue::S(shard.to_owned()));
                }
            }
            item
        })
}

fn condition() -> impl Strategy<Value = Condition> {
    prop_oneof![
        3 => Just(Condition::Absent),
        2 => value().prop_map(|value| Condition::AbsentOr("a", value)),
        2 => (-4_i64..12).prop_map(|number| Condition::AbsentOrBelow("a", number)),
        2 => value().prop_map(|value| Condition::Is(vec![("a", value)])),
        1 => Just(Condition::Is(vec![("a", AttributeValue::N("1.0".to_owned()))])),
        1 => (value(), value()).prop_map(|(a, b)| Condition::Is(vec![("a", a), ("b", b)])),
        2 => (proptest::sample::select(["a", "sum"].as_slice()), -4_i64..12, 0_i64..12)
            .prop_map(|(name, least, more)| Condition::Between(name, least, least + more)),
        4 => proptest::collection::vec(test(), 1..4).prop_map(Condition::All),
    ]
}

fn test() -> impl Strategy<Value = (String, Test)> {
    let name = prop_oneof![Just("a"), Just("b"), Just("sum"), Just("list")];
    let test = prop_oneof![
        3 => value().prop_map(Test::Is),
        1 => list().prop_map(Test::Is),
        2 => (-4_i64..12).prop_map(Test::AtMost),
        2 => (-4_i64..12).prop_map(Test::AtLeast),
        2 => Just(Test::Missing),
    ];
    (name, test).prop_map(|(name, test)| (name.to_owned(), test))
}

fn list() -> impl Strategy<Value = AttributeValue> {
    proptest::collection::vec(value(), 0..3).prop_map(AttributeValue::L)
}

/// Some edits, each of another attribute.
fn edits() -> impl Strategy<Value = Vec<(String, Edit)>> {
    let all = (value(), list(), -4_i64..12, any::<bool>()).prop_map(|(a, more, by, adds)| {
        let sum = if adds {
            Edit::Add(by)
        } else {
            Edit::Increase(by)
        };
        let edits = [
            ("a", Edit::Set(a)),
            ("b", Edit::Remove),
            ("list", Edit::Append(more)),
            ("sum", sum),
        ];
        edits.map(|(name, edit)| (name.to_owned(), edit)).to_vec()
    });
    all.prop_flat_map(|all| proptest::sample::subsequence(all, 1..=4))
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        4 => (table(), item(), condition()).prop_map(|(table, item, only_if)| Write::Put { table, item, only_if }),
        4 => (key(), edits(), condition())
            .prop_map(|(key, edits, only_if)| Write::Update { key, edits, only_if }),
        1 => (key(), condition()).prop_map(|(key, only_if)| Write::Delete { key, only_if }),
    ]
}

fn query() -> impl Strategy<Value = Operation> {
    let range = prop_oneof![
        2 => Just(Range::All),
        2 => prop_oneof![Just("a"), Just("a#"), Just("a#1"), Just("z")].prop_map(|text| Range::Prefix(text.to_owned())),
        2 => (sort_key(), sort_key()).prop_map(|(from, to)| Range::Between(from, to)),
    ];
    let only =
        proptest::option::of(proptest::collection::vec(value(), 1..3).prop_map(|any| ("a", any)));
    (table(), partition(), range, any::<bool>(), 1_usize..6, only).prop_map(
        |(table, pk, range, backwards, limit, only)| {
            Operation::Query(
                Query {
                    table,
                    pk,
                    range,
                    backwards,
                    limit,
                    consistent: true,
                    only,
                },
                None,
            )
        },
    )
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        1 => (table(), key()).prop_map(|(table, key)| Operation::Get(table, key)),
        3 => query(),
        2 => (prop_oneof![Just("0"), Just("1")], 0_i64..40, 1_usize..6)
            .prop_map(|(shard, until, limit)| Operation::Due(shard.to_owned(), until, limit)),
        6 => proptest::collection::vec(write(), 1..4).prop_map(Operation::Write),
    ]
}

async fn agree(memory: &Memory, dynamo: &dyn Store, operation: &Operation) -> Answer {
    let (ours, theirs) = (ask(memory, operation).await, ask(dynamo, operation).await);
    match (&ours, &theirs) {
        // Rows that are due at one moment come in no promised order.
        (Answer::Due(ours), Answer::Due(theirs)) => {
            assert_eq!(in_order(ours), in_order(theirs), "{operation:?}");
        }
        _ => assert_eq!(ours, theirs, "{operation:?}"),
    }
    ours
}

fn in_order(rows: &[DueRow]) -> Vec<(i64, &str, &str)> {
    let mut rows: Vec<_> = rows
        .iter()
        .map(|row| (row.at, row.key.pk.as_str(), row.key.sk.as_str()))
        .collect();
    rows.sort_unstable();
    rows
}

/// Follows every page of a query as its first answer began.
async fn follow(memory: &Memory, dynamo: &dyn Store, query: &Query, mut answer: Answer) {
    while let Answer::Rows(_, Some(after)) = answer {
        answer = agree(
            memory,
            dynamo,
            &Operation::Query(query.clone(), Some(after)),
        )
        .await;
    }
}

async fn play(operations: Vec<Operation>) {
    let memory = Memory::new();
    let (dynamo, _client) = sealfleet_test_dynamo::start().await.unwrap();
    for operation in operations {
        let answer = agree(&memory, dynamo.as_ref(), &operation).await;
        if let Operation::Query(query, _) = &operation {
            follow(&memory, dynamo.as_ref(), query, answer).await;
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_stores_give_the_same_answers(operations in proptest::collection::vec(operation(), 1..60)) {
        runtime().block_on(play(operations));
    }
}

fn row(sk: &str, bytes: usize) -> Write {
    let item = [("pk", "p"), ("sk", sk), ("body", &"x".repeat(bytes))]
        .map(|(name, text)| (name.to_owned(), AttributeValue::S(text.to_owned())));
    Write::Put {
        table: Table::Ledger,
        item: Item::from(item),
        only_if: Condition::Absent,
    }
}

async fn both_refuse(writes: Vec<Write>) {
    let (dynamo, _client) = sealfleet_test_dynamo::start().await.unwrap();
    assert_eq!(
        agree(&Memory::new(), dynamo.as_ref(), &Operation::Write(writes)).await,
        Answer::Refused
    );
}

#[tokio::test]
async fn both_refuse_what_is_no_transaction() {
    both_refuse((0..101).map(|at| row(&format!("{at:03}"), 1)).collect()).await;
    both_refuse(vec![row("a", 1), row("b", 1), row("a", 2)]).await;
    both_refuse(vec![row("a", 500 * 1024)]).await;
    both_refuse(vec![row("", 1)]).await;
}

#[tokio::test]
async fn a_page_ends_at_a_megabyte() {
    let memory = Memory::new();
    let (dynamo, _client) = sealfleet_test_dynamo::start().await.unwrap();
    for at in 0..5 {
        agree(
            &memory,
            dynamo.as_ref(),
            &Operation::Write(vec![row(&at.to_string(), 380 * 1024)]),
        )
        .await;
    }
    let query = Query {
        table: Table::Ledger,
        pk: "p".to_owned(),
        range: Range::All,
        backwards: false,
        limit: 100,
        consistent: true,
        only: None,
    };
    let first = agree(
        &memory,
        dynamo.as_ref(),
        &Operation::Query(query.clone(), None),
    )
    .await;
    assert!(
        matches!(&first, Answer::Rows(rows, Some(_)) if rows.len() < 5),
        "the first page is not all"
    );
    follow(&memory, dynamo.as_ref(), &query, first).await;
}

#[tokio::test]
async fn a_lost_reply_has_happened_and_a_refusal_has_not() {
    for (fault, happened) in [
        (Fault::Busy, false),
        (Fault::Unavailable, false),
        (Fault::ReplyLost, true),
    ] {
        let memory = Memory::new();
        let faulty = memory.with_faults(Arc::new(move |call| {
            Some(fault).filter(|_| call == Call::Write)
        }));
        assert!(faulty.write(vec![row("a", 1)]).await.is_err());
        let key = Key {
            pk: "p".to_owned(),
            sk: "a".to_owned(),
        };
        assert_eq!(
            faulty
                .get(Table::Ledger, &key, Consistency::Strong)
                .await
                .unwrap()
                .is_some(),
            happened,
            "{fault:?}"
        );
    }
}

#[test]
fn the_index_follows_late() {
    let memory = Memory::new();
    let mut tables = memory.tables();
    for at in 0..3 {
        let Write::Put {
            table,
            mut item,
            only_if,
        } = row(&at.to_string(), 1)
        else {
            return;
        };
        item.insert("due_shard".to_owned(), AttributeValue::S("0".to_owned()));
        item.insert("due_at".to_owned(), AttributeValue::N(at.to_string()));
        tables
            .write(vec![Write::Put {
                table,
                item,
                only_if,
            }])
            .unwrap();
    }
    assert_eq!(tables.due("0", 9, None, 10).unwrap().rows, vec![]);
    tables.settle(1);
    assert_eq!(tables.due("0", 9, None, 10).unwrap().rows.len(), 2);
    tables.settle(0);
    assert_eq!(tables.due("0", 9, None, 10).unwrap().rows.len(), 3);
}
