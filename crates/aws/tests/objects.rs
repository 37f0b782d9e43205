//! Objects of a bucket are only ever created, whatever the bucket itself would allow.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri};
use sealfleet_aws::objects::{Objects as _, S3};

type Stored = Arc<Mutex<BTreeMap<String, String>>>;

/// A store that replaces an object unless it is told not to, as S3 does.
async fn store() -> (String, Stored) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stored = Stored::default();
    let objects = stored.clone();
    let put = async move |uri: Uri, headers: HeaderMap, body: String| {
        let mut objects = objects.lock().unwrap();
        if headers
            .get("if-none-match")
            .is_some_and(|value| value == "*")
            && objects.contains_key(uri.path())
        {
            return (
                StatusCode::PRECONDITION_FAILED,
                "<Error><Code>PreconditionFailed</Code></Error>",
            );
        }
        objects.insert(uri.path().to_owned(), body);
        (StatusCode::OK, "")
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(put)).await });
    (url, stored)
}

#[tokio::test]
async fn what_is_there_is_not_replaced() {
    let (url, stored) = store().await;
    let credentials = aws_sdk_s3::config::Credentials::new("a", "b", None, None, "test");
    let config = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new("eu-west-1"))
        .endpoint_url(url)
        .credentials_provider(aws_sdk_s3::config::SharedCredentialsProvider::new(
            credentials,
        ))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let bucket = S3::new(&config, "archive".to_owned());
    assert!(
        bucket
            .create("audit/one", "application/json", b"first".to_vec())
            .await
            .unwrap()
    );
    assert!(
        !bucket
            .create("audit/one", "application/json", b"second".to_vec())
            .await
            .unwrap()
    );
    assert!(
        bucket
            .create("audit/two", "application/json", b"third".to_vec())
            .await
            .unwrap()
    );
    let stored = stored.lock().unwrap();
    assert_eq!(stored.len(), 2);
    assert!(
        stored.values().next().unwrap().contains("first"),
        "{stored:?}"
    );
}
