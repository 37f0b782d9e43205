//! DynamoDB inside the test's own process, with the two tables as the template makes them.
//!
//! dynoxide speaks DynamoDB's protocol and counts capacity as DynamoDB does; the SDK talks to it
//! over a loopback socket, so what is tested is the store that runs in Lambda.

use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use aws_sdk_dynamodb::{Client, config};
use sealfleet_ledger::store::{
    Consistency, DueRow, DueRows, Item, Key, Query, ReadError, Rows, Store, Table, Write,
    WriteError,
};
use sealfleet_ledger::{Added, Dynamo, Ledger, Tables};

/// The store, with the ledger's stream and the `trail` function behind it: each write to a run's
/// row is followed at once by copies of its entries in the audit table.
pub struct Streamed {
    store: Arc<Dynamo>,
    /// Copies entries. Writes to the same tables.
    ledger: Ledger,
}

impl Streamed {
    #[must_use]
    pub const fn new(store: Arc<Dynamo>, ledger: Ledger) -> Self {
        Self { store, ledger }
    }

    async fn row(&self, key: &Key) -> Result<Option<Item>, WriteError> {
        let row = self
            .store
            .get(Table::Ledger, key, Consistency::Strong)
            .await;
        row.map_err(WriteError::from)
    }
}

#[async_trait]
impl Store for Streamed {
    async fn get(
        &self,
        table: Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Item>, ReadError> {
        self.store.get(table, key, consistency).await
    }

    async fn query(&self, query: &Query, after: Option<&str>) -> Result<Rows, ReadError> {
        self.store.query(query, after).await
    }

    async fn due(
        &self,
        shard: &str,
        until: i64,
        after: Option<&DueRow>,
        limit: usize,
    ) -> Result<DueRows, ReadError> {
        self.store.due(shard, until, after, limit).await
    }

    async fn write(&self, writes: Vec<Write>) -> Result<(), WriteError> {
        let failed = |error: String| WriteError::Unavailable(error);
        let mut before = Vec::new();
        for key in writes.iter().filter_map(run_of) {
            let row = self.row(&key).await?;
            before.push((key, row));
        }
        self.store.write(writes).await?;
        for (key, before) in before {
            let after = self.row(&key).await?;
            let Some(after) = after else { continue };
            let added = Added::between(before.as_ref(), &after);
            let added = added.map_err(|error| failed(error.to_string()))?;
            let entries = self.ledger.whole_entries(added).await;
            let entries = entries.map_err(|error| failed(error.to_string()))?;
            let copied = self.ledger.add_to_trail(entries).await;
            copied.map_err(|error| failed(error.to_string()))?;
        }
        Ok(())
    }
}

/// The key of a run whose row a write changes.
fn run_of(write: &Write) -> Option<Key> {
    let (_, key) = write.target();
    key.filter(|key| key.pk.contains("#RUNS#"))
}

/// Starts a database of its own and makes both tables.
pub async fn start() -> Result<(Arc<Dynamo>, Client), Box<dyn Error>> {
    let database = dynoxide::Database::memory()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    let client = Client::from_conf(settings(&endpoint));
    make_ledger(&client).await?;
    make_audit(&client).await?;
    let tables = Tables {
        ledger: "ledger".to_owned(),
        audit: "audit".to_owned(),
    };
    Ok((Arc::new(Dynamo::new(client.clone(), tables)), client))
}

fn settings(endpoint: &str) -> config::Config {
    Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .endpoint_url(endpoint)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build()
}

async fn make_ledger(client: &Client) -> Result<(), Box<dyn Error>> {
    let index = GlobalSecondaryIndex::builder()
        .index_name("due")
        .key_schema(key("due_shard", KeyType::Hash)?)
        .key_schema(key("due_at", KeyType::Range)?)
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::KeysOnly)
                .build(),
        )
        .build()?;
    client
        .create_table()
        .table_name("ledger")
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash)?)
        .key_schema(key("sk", KeyType::Range)?)
        .attribute_definitions(attribute("pk", ScalarAttributeType::S)?)
        .attribute_definitions(attribute("sk", ScalarAttributeType::S)?)
        .attribute_definitions(attribute("due_shard", ScalarAttributeType::S)?)
        .attribute_definitions(attribute("due_at", ScalarAttributeType::N)?)
        .global_secondary_indexes(index)
        .send()
        .await?;
    Ok(())
}

async fn make_audit(client: &Client) -> Result<(), Box<dyn Error>> {
    client
        .create_table()
        .table_name("audit")
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash)?)
        .key_schema(key("sk", KeyType::Range)?)
        .attribute_definitions(attribute("pk", ScalarAttributeType::S)?)
        .attribute_definitions(attribute("sk", ScalarAttributeType::S)?)
        .send()
        .await?;
    Ok(())
}

fn key(name: &str, kind: KeyType) -> Result<KeySchemaElement, Box<dyn Error>> {
    Ok(KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(kind)
        .build()?)
}

fn attribute(name: &str, kind: ScalarAttributeType) -> Result<AttributeDefinition, Box<dyn Error>> {
    Ok(AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(kind)
        .build()?)
}
