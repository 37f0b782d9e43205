//! Servers of a few lines, for tests: each request is answered by a function.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use sealfleet_client::{Client, Code, Problem};
use serde_json::{Value, json};

pub const RUN: &str = "run_0198c0de-0000-7000-8000-00000000000a";

/// A request as it came.
pub struct Asked {
    pub method: String,
    /// With the query.
    pub path: String,
    head: String,
    pub body: String,
}

impl Asked {
    /// A header's value, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// A client of an API that answers like this.
pub fn api(answer: impl Fn(&str, &str) -> (u16, Value) + Send + 'static) -> Client {
    let url = serve(move |asked| {
        let (status, body) = answer(&asked.method, &asked.path);
        let body = match body {
            Value::Null => Vec::new(),
            body => body.to_string().into_bytes(),
        };
        (status, body)
    });
    Client::new(&url, None).expect("a client")
}

/// Serves answers on the loopback interface, one after another. Answers the address.
pub fn serve(answer: impl Fn(&Asked) -> (u16, Vec<u8>) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.expect("a connection");
            let text = request(&mut connection);
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
            let mut words = head.split(' ').map(str::to_owned);
            let (method, path) = (words.next(), words.next());
            let (status, body) = answer(&Asked {
                method: method.unwrap_or_default(),
                path: path.unwrap_or_default(),
                head: head.to_owned(),
                body: body.to_owned(),
            });
            let head = format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let whole = [head.into_bytes(), body].concat();
            connection.write_all(&whole).expect("an answer");
        }
    });
    url
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
