//! Objects of a bucket are only ever created, whatever the bucket itself would allow.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use sealfleet_aws::objects::{Objects as _, S3};

type Stored = Arc<Mutex<BTreeMap<String, String>>>;

/// A store that replaces an object unless it is told not to: `PUT` as S3 answers it, one request a connection.
fn store() -> (String, Stored) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let stored = Stored::default();
    let objects = stored.clone();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let (head, body) = request(&mut connection);
            let key = head.split(' ').nth(1).and_then(|path| path.split(['?']).next()).unwrap().to_owned();
            let only_new = head.to_lowercase().contains("\r\nif-none-match: *");
            let mut objects = objects.lock().unwrap();
            let (status, answer) = if only_new && objects.contains_key(&key) {
                ("412 Precondition Failed", "<Error><Code>PreconditionFailed</Code></Error>")
            } else {
                objects.insert(key, body);
                ("200 OK", "")
            };
            let length = answer.len();
            write!(connection, "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{answer}")
                .unwrap();
        }
    });
    (url, stored)
}

fn request(connection: &mut TcpStream) -> (String, String) {
    let (mut text, mut bytes) = (String::new(), [0; 65536]);
    loop {
        let read = connection.read(&mut bytes).unwrap();
        text += &String::from_utf8_lossy(&bytes[..read]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return (head.to_owned(), body.to_owned());
        }
    }
}

#[tokio::test]
async fn what_is_there_is_not_replaced() {
    let (url, stored) = store();
    let credentials = aws_sdk_s3::config::Credentials::new("a", "b", None, None, "test");
    let config = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new("eu-west-1"))
        .endpoint_url(url)
        .credentials_provider(aws_sdk_s3::config::SharedCredentialsProvider::new(credentials))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    let bucket = S3::new(&config, "archive".to_owned());
    assert!(bucket.create("audit/one", "application/json", b"first".to_vec()).await.unwrap());
    assert!(!bucket.create("audit/one", "application/json", b"second".to_vec()).await.unwrap());
    assert!(bucket.create("audit/two", "application/json", b"third".to_vec()).await.unwrap());
    let stored = stored.lock().unwrap();
    assert_eq!(stored.len(), 2);
    assert!(stored.values().next().unwrap().contains("first"), "{stored:?}");
}
