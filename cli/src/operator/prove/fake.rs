//! An API of a few lines, for tests: each request is answered by a function of its method and path.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use sealfleet_client::{Client, Code, Problem};
use serde_json::{Value, json};

pub const RUN: &str = "run_0198c0de-0000-7000-8000-00000000000a";

/// A client of an API that answers like this.
pub fn api(answer: impl Fn(&str, &str) -> (u16, Value) + Send + 'static) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            let head = request(&mut connection);
            let mut words = head.split(' ');
            let (method, path) = (
                words.next().unwrap_or_default(),
                words.next().unwrap_or_default(),
            );
            let (status, body) = answer(method, path);
            let body = if body.is_null() {
                String::new()
            } else {
                body.to_string()
            };
            let head = format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            connection
                .write_all((head + &body).as_bytes())
                .expect("an answer");
        }
    });
    Client::new(&url, None).expect("a client")
}

/// Reads a request, head and body.
fn request(connection: &mut TcpStream) -> String {
    let (mut text, mut bytes) = (String::new(), [0; 65536]);
    loop {
        let read = connection.read(&mut bytes).expect("a request");
        if read == 0 {
            return text;
        }
        text += &String::from_utf8_lossy(&bytes[..read]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| {
            let line = line.to_lowercase();
            line.strip_prefix("content-length: ")?.parse().ok()
        });
        if body.len() >= length.unwrap_or(0) {
            return text;
        }
    }
}

pub fn problem(code: Code) -> (u16, Value) {
    (code.status(), json!(Problem::new(code, "because")))
}

/// A run of one step.
pub fn run(state: &str, step: &str) -> Value {
    json!({
        "run_id": RUN, "workflow": "w", "state": state, "created_at": "2026-01-31T08:00:00Z",
        "steps": [{ "id": "only", "state": step, "mode": "identity", "pool": "workers", "attempt": 1, "fence": 1 }],
    })
}
