//! The store on Amazon DynamoDB.
//!
//! A single write is one conditional call, which costs half as much as a transaction and is equally
//! atomic for one row. Several writes are one `TransactWriteItems`. The SDK gives a transaction the
//! same client request token for all its retries, so a retry succeeds even if the first answer was
//! lost after the write.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemOutput;
use aws_sdk_dynamodb::operation::put_item::PutItemOutput;
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConsumedCapacity, Delete, Put, ReturnConsumedCapacity,
    TransactWriteItem, Update,
};
use sealfleet_domain::cause::{chain, repeats};

use crate::store::{
    Condition, Consistency, DueRow, DueRows, Edit, Item, Key, Meter, Query, Range, ReadError, Rows,
    Store, Table, Test, Write, WriteError,
};

#[derive(Clone, Debug)]
pub struct Tables {
    pub ledger: String,
    pub audit: String,
}

pub struct Dynamo {
    client: Client,
    tables: Tables,
    meter: Arc<Meter>,
}

/// A condition, its names and its values in DynamoDB's syntax.
struct Expression {
    text: String,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    /// Adds a name and a value, and returns their placeholders.
    fn bind(&mut self, attribute: &str, value: AttributeValue) -> (String, String) {
        let name = self.name(attribute);
        let placeholder = format!(":{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        (name, placeholder)
    }

    fn name(&mut self, attribute: &str) -> String {
        let known = self.names.iter().find(|(_, name)| *name == attribute);
        if let Some((placeholder, _)) = known {
            return placeholder.clone();
        }
        let placeholder = format!("#{}", self.names.len());
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    /// The update expression of edits.
    fn edits(&mut self, edits: Vec<(String, Edit)>) -> String {
        let mut set = Vec::new();
        let mut remove = Vec::new();
        let mut add = Vec::new();
        for (attribute, edit) in edits {
            match edit {
                Edit::Set(value) => {
                    let (name, value) = self.bind(&attribute, value);
                    set.push(format!("{name}={value}"));
                }
                Edit::Append(list) => {
                    let (name, value) = self.bind(&attribute, list);
                    set.push(format!("{name}=list_append({name},{value})"));
                }
                Edit::Increase(by) => {
                    let (name, value) = self.bind(&attribute, AttributeValue::N(by.to_string()));
                    set.push(format!("{name}={name}+{value}"));
                }
                Edit::Add(amount) => {
                    let amount = AttributeValue::N(amount.to_string());
                    let (name, value) = self.bind(&attribute, amount);
                    add.push(format!("{name} {value}"));
                }
                Edit::Remove => remove.push(self.name(&attribute)),
            }
        }
        let clause = |word: &str, parts: Vec<String>| {
            (!parts.is_empty()).then(|| format!("{word} {}", parts.join(",")))
        };
        let clauses = [
            clause("SET", set),
            clause("REMOVE", remove),
            clause("ADD", add),
        ];
        clauses.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

impl Dynamo {
    #[must_use]
    pub fn new(client: Client, tables: Tables) -> Self {
        Self {
            client,
            tables,
            meter: Arc::new(Meter::default()),
        }
    }

    /// Counts the capacity consumed so far.
    #[must_use]
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    fn name(&self, table: Table) -> &str {
        match table {
            Table::Ledger => &self.tables.ledger,
            Table::Audit => &self.tables.audit,
        }
    }

    fn wrote(&self, capacity: Option<&ConsumedCapacity>) {
        self.meter.add(
            capacity
                .and_then(ConsumedCapacity::capacity_units)
                .unwrap_or_default(),
            0.0,
        );
    }

    /// The result of a single write.
    fn one<O, E>(
        &self,
        result: Result<O, SdkError<E>>,
        capacity: fn(&O) -> Option<&ConsumedCapacity>,
    ) -> Result<(), WriteError>
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let output = result.map_err(|error| single(&error))?;
        self.wrote(capacity(&output));
        Ok(())
    }

    fn read(&self, capacity: Option<&ConsumedCapacity>) {
        self.meter.add(
            0.0,
            capacity
                .and_then(ConsumedCapacity::capacity_units)
                .unwrap_or_default(),
        );
    }

    /// One write, as one conditional call.
    #[expect(
        clippy::disallowed_methods,
        reason = "this store is the only place that writes rows"
    )]
    async fn write_one(&self, write: TransactWriteItem) -> Result<(), WriteError> {
        let units = ReturnConsumedCapacity::Total;
        if let Some(put) = write.put {
            let call = self.client.put_item();
            let result = call
                .table_name(put.table_name)
                .set_item(Some(put.item))
                .set_condition_expression(put.condition_expression)
                .set_expression_attribute_names(put.expression_attribute_names)
                .set_expression_attribute_values(put.expression_attribute_values)
                .return_consumed_capacity(units)
                .send()
                .await;
            return self.one(result, PutItemOutput::consumed_capacity);
        }
        if let Some(update) = write.update {
            let call = self.client.update_item();
            let result = call
                .table_name(update.table_name)
                .set_key(Some(update.key))
                .update_expression(update.update_expression)
                .set_condition_expression(update.condition_expression)
                .set_expression_attribute_names(update.expression_attribute_names)
                .set_expression_attribute_values(update.expression_attribute_values)
                .return_consumed_capacity(units)
                .send()
                .await;
            return self.one(result, UpdateItemOutput::consumed_capacity);
        }
        if let Some(delete) = write.delete {
            let call = self.client.delete_item();
            let result = call
                .table_name(delete.table_name)
                .set_key(Some(delete.key))
                .set_condition_expression(delete.condition_expression)
                .set_expression_attribute_names(delete.expression_attribute_names)
                .set_expression_attribute_values(delete.expression_attribute_values)
                .return_consumed_capacity(units)
                .send()
                .await;
            return self.one(result, DeleteItemOutput::consumed_capacity);
        }
        Ok(())
    }

    /// A write in DynamoDB's syntax.
    fn action(&self, write: Write) -> Result<TransactWriteItem, WriteError> {
        let malformed =
            |error: aws_sdk_dynamodb::error::BuildError| WriteError::Refused(error.to_string());
        let item = TransactWriteItem::builder();
        let (key, condition, change) = match write {
            Write::Put {
                table,
                item: row,
                only_if,
            } => {
                let condition = expression(&only_if);
                let put = Put::builder()
                    .table_name(self.name(table))
                    .set_item(Some(row))
                    .condition_expression(condition.text)
                    .set_expression_attribute_names(some(condition.names))
                    .set_expression_attribute_values(some(condition.values))
                    .build()
                    .map_err(malformed)?;
                return Ok(item.put(put).build());
            }
            Write::Delete { key, only_if } => {
                let condition = expression(&only_if);
                let delete = Delete::builder()
                    .table_name(self.name(Table::Ledger))
                    .set_key(Some(item_key(key)))
                    .condition_expression(condition.text)
                    .set_expression_attribute_names(some(condition.names))
                    .set_expression_attribute_values(some(condition.values))
                    .build()
                    .map_err(malformed)?;
                return Ok(item.delete(delete).build());
            }
            Write::Update {
                key,
                edits,
                only_if,
            } => {
                let mut condition = expression(&only_if);
                let change = condition.edits(edits);
                (key, condition, change)
            }
        };
        let update = Update::builder()
            .table_name(self.name(Table::Ledger))
            .set_key(Some(item_key(key)))
            .update_expression(change)
            .condition_expression(condition.text)
            .set_expression_attribute_names(some(condition.names))
            .set_expression_attribute_values(some(condition.values))
            .build()
            .map_err(malformed)?;
        Ok(item.update(update).build())
    }
}

#[async_trait]
impl Store for Dynamo {
    async fn get(
        &self,
        table: Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Item>, ReadError> {
        let output = self
            .client
            .get_item()
            .table_name(self.name(table))
            .set_key(Some(item_key(key.clone())))
            .consistent_read(consistency == Consistency::Strong)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| unread(&error))?;
        self.read(output.consumed_capacity());
        Ok(output.item)
    }

    async fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, ReadError> {
        let mut names = HashMap::from([("#pk".to_owned(), "pk".to_owned())]);
        let mut values = HashMap::from([(":pk".to_owned(), AttributeValue::S(query.pk.clone()))]);
        let mut text = "#pk = :pk".to_owned();
        if !matches!(query.range, Range::All) {
            names.insert("#sk".to_owned(), "sk".to_owned());
        }
        match &query.range {
            Range::All => {}
            Range::Prefix(prefix) => {
                text.push_str(" AND begins_with(#sk, :prefix)");
                values.insert(":prefix".to_owned(), AttributeValue::S(prefix.clone()));
            }
            Range::Between(from, to) => {
                text.push_str(" AND #sk BETWEEN :from AND :to");
                values.insert(":from".to_owned(), AttributeValue::S(from.clone()));
                values.insert(":to".to_owned(), AttributeValue::S(to.clone()));
            }
        }
        let filter = query.only.as_ref().map(|(name, any)| {
            names.insert("#only".to_owned(), (*name).to_owned());
            let named = any.iter().enumerate().map(|(at, value)| {
                let name = format!(":only{at}");
                values.insert(name.clone(), value.clone());
                name
            });
            format!("#only IN ({})", named.collect::<Vec<_>>().join(", "))
        });
        let start = after.map(|after| {
            item_key(Key {
                pk: query.pk.clone(),
                sk: after.to_owned(),
            })
        });
        let output = self
            .client
            .query()
            .table_name(self.name(query.table))
            .key_condition_expression(text)
            .set_filter_expression(filter)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(Some(values))
            .set_exclusive_start_key(start)
            .scan_index_forward(!query.backwards)
            .limit(i32::try_from(query.limit).unwrap_or(i32::MAX))
            .consistent_read(query.consistent)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| unread(&error))?;
        self.read(output.consumed_capacity());
        let more_after = output
            .last_evaluated_key
            .and_then(|mut key| key.remove("sk"))
            .and_then(|value| value.as_s().ok().cloned());
        Ok(Rows {
            items: output.items.unwrap_or_default(),
            more_after,
        })
    }

    async fn due(
        &self,
        shard: &str,
        until: i64,
        after: Option<&DueRow>,
        limit: usize,
    ) -> Result<DueRows, ReadError> {
        let start = after.map(|after| {
            let mut start = item_key(after.key.clone());
            start.insert("due_shard".to_owned(), AttributeValue::S(shard.to_owned()));
            start.insert("due_at".to_owned(), AttributeValue::N(after.at.to_string()));
            start
        });
        let output = self
            .client
            .query()
            .table_name(self.name(Table::Ledger))
            .index_name("due")
            .key_condition_expression("#shard = :shard AND #at <= :until")
            .expression_attribute_names("#shard", "due_shard")
            .expression_attribute_names("#at", "due_at")
            .expression_attribute_values(":shard", AttributeValue::S(shard.to_owned()))
            .expression_attribute_values(":until", AttributeValue::N(until.to_string()))
            .set_exclusive_start_key(start)
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await
            .map_err(|error| unread(&error))?;
        self.read(output.consumed_capacity());
        Ok(DueRows {
            rows: output.items().iter().filter_map(due_row).collect(),
            more_after: output.last_evaluated_key().and_then(due_row),
        })
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        let mut actions = writes
            .into_iter()
            .map(|write| self.action(write))
            .collect::<Result<Vec<_>, _>>()?;
        if actions.len() < 2 {
            return match actions.pop() {
                None => Ok(()),
                Some(action) => self.write_one(action).await,
            };
        }
        let result = self
            .client
            .transact_write_items()
            .set_transact_items(Some(actions))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        match result {
            Ok(output) => {
                for capacity in output.consumed_capacity() {
                    self.wrote(Some(capacity));
                }
                Ok(())
            }
            Err(error) => Err(cancelled(&error)),
        }
    }
}

type TransactError =
    SdkError<aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError>;

fn cancelled(error: &TransactError) -> WriteError {
    let Some(service) = error.as_service_error() else {
        return unwritten(error);
    };
    if service.is_transaction_in_progress_exception() {
        return WriteError::Busy;
    }
    let aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError::TransactionCanceledException(
        cancelled,
    ) = service
    else {
        return unwritten(error);
    };
    reasons(cancelled.cancellation_reasons(), || chain(error))
}

/// What the reasons of a cancelled transaction, one for each write, come to.
fn reasons(reasons: &[CancellationReason], detail: impl FnOnce() -> String) -> WriteError {
    let codes: Vec<&str> = reasons
        .iter()
        .map(|reason| reason.code().unwrap_or("None"))
        .collect();
    let failed: Vec<usize> = codes
        .iter()
        .enumerate()
        .filter(|(_, code)| **code == "ConditionalCheckFailed")
        .map(|(at, _)| at)
        .collect();
    if !failed.is_empty() {
        WriteError::Condition(failed)
    } else if codes.iter().any(|code| {
        matches!(
            *code,
            "TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded"
        )
    }) {
        WriteError::Busy
    } else if reasons
        .iter()
        .any(|reason| is_too_large(reason.message().unwrap_or_default()))
    {
        WriteError::TooLarge
    } else if codes.contains(&"ValidationError") || codes.contains(&"AccessDenied") {
        WriteError::Refused(detail())
    } else {
        WriteError::Unavailable(detail())
    }
}

fn single<E>(error: &SdkError<E>) -> WriteError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match error.code() {
        Some("ConditionalCheckFailedException") => WriteError::Condition(vec![0]),
        Some("TransactionConflictException") => WriteError::Busy,
        _ => unwritten(error),
    }
}

/// Neither a condition nor another writer.
fn unwritten<E>(error: &SdkError<E>) -> WriteError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    if is_too_large(error.message().unwrap_or_default()) {
        return WriteError::TooLarge;
    }
    unread(error).into()
}

/// A row that would be larger than 400 KB is a `ValidationException` like any other; only the
/// message tells.
fn is_too_large(message: &str) -> bool {
    message.contains("exceeded the maximum allowed size")
}

fn unread<E>(error: &SdkError<E>) -> ReadError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let detail = chain(error);
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    // A request that cannot even be made cannot be made again.
    if matches!(error, SdkError::ConstructionFailure(_)) || repeats(error.code(), status) {
        ReadError::Refused(detail)
    } else {
        ReadError::Unavailable(detail)
    }
}

fn expression(condition: &Condition) -> Expression {
    let mut made = Expression {
        text: String::new(),
        names: HashMap::new(),
        values: HashMap::new(),
    };
    let number = |number: i64| AttributeValue::N(number.to_string());
    made.text = match condition {
        Condition::Absent => format!("attribute_not_exists({})", made.name("pk")),
        Condition::AbsentOr(name, value) => {
            let absent = made.name("pk");
            let (name, value) = made.bind(name, value.clone());
            format!("attribute_not_exists({absent}) OR {name} = {value}")
        }
        Condition::AbsentOrBelow(name, most) => {
            let absent = made.name("pk");
            let (name, value) = made.bind(name, number(*most));
            format!("attribute_not_exists({absent}) OR {name} < {value}")
        }
        Condition::Is(pairs) => {
            let tests = pairs.iter().map(|(name, value)| {
                let (name, value) = made.bind(name, value.clone());
                format!("{name} = {value}")
            });
            tests.collect::<Vec<_>>().join(" AND ")
        }
        Condition::Between(name, least, most) => {
            let (bound, least) = made.bind(name, number(*least));
            let (_, most) = made.bind(name, number(*most));
            format!("{bound} BETWEEN {least} AND {most}")
        }
        Condition::All(tests) => {
            let tests = tests.iter().map(|(name, test)| match test {
                Test::Is(value) => {
                    let (name, value) = made.bind(name, value.clone());
                    format!("{name}={value}")
                }
                Test::AtMost(most) => {
                    let (name, value) = made.bind(name, number(*most));
                    format!("{name}<={value}")
                }
                Test::AtLeast(least) => {
                    let (name, value) = made.bind(name, number(*least));
                    format!("{name}>={value}")
                }
                Test::Missing => format!("attribute_not_exists({})", made.name(name)),
            });
            tests.collect::<Vec<_>>().join(" AND ")
        }
    };
    made
}

/// `None` for an empty map, because DynamoDB rejects empty maps of names or values.
fn some<V>(map: HashMap<String, V>) -> Option<HashMap<String, V>> {
    Some(map).filter(|map| !map.is_empty())
}

/// A row of the due index, or the place where a page of it ended.
fn due_row(item: &Item) -> Option<DueRow> {
    let text = |name: &str| item.get(name)?.as_s().ok().cloned();
    Some(DueRow {
        at: item.get("due_at")?.as_n().ok()?.parse().ok()?,
        key: Key {
            pk: text("pk")?,
            sk: text("sk")?,
        },
    })
}

fn item_key(key: Key) -> Item {
    HashMap::from([
        ("pk".to_owned(), AttributeValue::S(key.pk)),
        ("sk".to_owned(), AttributeValue::S(key.sk)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(code: &str, message: &str) -> CancellationReason {
        CancellationReason::builder()
            .code(code)
            .message(message)
            .build()
    }

    #[test]
    fn a_cancelled_transaction_is_told_by_its_reasons() {
        let none = reason("None", "");
        let large = "Item size has exceeded the maximum allowed size";
        let told = |one: CancellationReason| reasons(&[none.clone(), one], String::new);
        for (code, message, expected) in [
            ("ConditionalCheckFailed", "", WriteError::Condition(vec![1])),
            ("TransactionConflict", "", WriteError::Busy),
            ("ThrottlingError", "", WriteError::Busy),
            ("ProvisionedThroughputExceeded", "", WriteError::Busy),
            ("ValidationError", large, WriteError::TooLarge),
            (
                "ValidationError",
                "Item size to update has exceeded the maximum allowed size",
                WriteError::TooLarge,
            ),
            ("ValidationError", "", WriteError::Refused(String::new())),
            ("AccessDenied", "", WriteError::Refused(String::new())),
            ("Unknown", "", WriteError::Unavailable(String::new())),
        ] {
            assert_eq!(told(reason(code, message)), expected, "{code} {message}");
        }
    }
}
