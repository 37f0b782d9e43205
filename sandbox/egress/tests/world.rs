//! A proxy, and a program that uses it.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_egress::{Limits, Names, Proxy};
use tokio::runtime::{Builder, Runtime};
use tokio::task::AbortHandle;

/// Longer than any step of a test takes. What waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers of a DNS that a test writes. Each question gets the next one, and then the last.
#[derive(Default)]
pub struct Book {
    answers: HashMap<String, Vec<Vec<IpAddr>>>,
    silent: Option<String>,
    asked: Mutex<Vec<String>>,
}

impl Book {
    pub fn with(mut self, name: &str, answers: &[&[&str]]) -> Self {
        let parse = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        let answers = answers.iter().map(parse).collect();
        self.answers.insert(name.to_owned(), answers);
        self
    }

    /// A name about which DNS says nothing.
    pub fn silent_about(mut self, name: &str) -> Self {
        self.silent = Some(name.to_owned());
        self
    }

    /// All questions until now.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl Names for Book {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let before = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(name.to_owned());
            asked.iter().filter(|it| *it == name).count() - 1
        };
        if self.silent.as_deref() == Some(name) {
            std::future::pending::<()>().await;
        }
        let answers = self.answers.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(answers[before.min(answers.len() - 1)].clone())
    }
}

/// A proxy that runs.
pub struct World {
    pub proxy: Arc<Proxy>,
    pub address: SocketAddr,
    pub book: Arc<Book>,
    serving: AbortHandle,
    runtime: Option<Runtime>,
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A policy that allows these.
pub fn allow(rules: &[(&str, u16)]) -> String {
    let rules: Vec<serde_json::Value> = rules
        .iter()
        .map(|(host, port)| serde_json::json!({ "host": host, "port": port }))
        .collect();
    serde_json::json!({ "allow": rules }).to_string()
}

pub const OPEN: &str = r#""open""#;
/// Where hosts of tests are.
pub const LOOPBACK: &[&str] = &["127.0.0.0/8"];

impl World {
    pub fn start(policy: &str, networks: &[&str], book: Book, limits: Limits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self::serving(listener, policy, networks, book, limits)
    }

    pub fn serving(
        listener: TcpListener,
        policy: &str,
        networks: &[&str],
        book: Book,
        limits: Limits,
    ) -> Self {
        Self::with(listener, policy, networks, book, limits, |proxy| proxy)
    }

    /// One that a test has set up further.
    pub fn with(
        listener: TcpListener,
        policy: &str,
        networks: &[&str],
        book: Book,
        limits: Limits,
        set_up: impl FnOnce(Proxy) -> Proxy,
    ) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let address = listener.local_addr().unwrap();
        let book = Arc::new(book);
        let proxy = Proxy::with_names(
            serde_json::from_str(policy).unwrap(),
            networks.iter().map(|net| net.parse().unwrap()).collect(),
            limits,
            Arc::clone(&book) as Arc<dyn Names>,
        );
        let proxy = Arc::new(set_up(proxy.unwrap()));
        let serves = Arc::clone(&proxy);
        let serving = runtime.spawn(async move { serves.serve(listener).await.map(|_| ()) });
        Self {
            proxy,
            address,
            book,
            serving: serving.abort_handle(),
            runtime: Some(runtime),
        }
    }

    /// A proxy with one host `a.test` on loopback, of which it allows this port.
    pub fn with_host(port: u16) -> Self {
        Self::start(
            &allow(&[("a.test", port)]),
            LOOPBACK,
            Book::default().with("a.test", &[&["127.0.0.1"]]),
            Limits::default(),
        )
    }

    pub fn stop_serving(&self) {
        self.serving.abort();
    }

    pub fn connect(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client(stream)
    }

    /// Sends one request on a connection of its own.
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut client = self.connect();
        client.send(request);
        client.answer()
    }

    /// A tunnel that was granted.
    pub fn tunnel(&self, authority: &str) -> Client<TcpStream> {
        let mut client = self.connect();
        client.send(format!("CONNECT {authority} HTTP/1.1\r\n\r\n"));
        let answer = client.answer();
        assert_eq!(answer.status, 200, "{answer:?}");
        client
    }
}

/// A connection to the proxy, or within it.
pub struct Client<S>(pub S);

#[derive(Debug)]
pub struct Answer {
    /// 0 if the connection ended without one.
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let of = |line: &'_ str| -> Option<(String, usize)> {
            let (key, _) = line.split_once(':')?;
            Some((key.to_ascii_lowercase(), key.len() + 1))
        };
        self.head.lines().find_map(|line| match of(line) {
            Some((key, from)) if key == name => Some(line[from..].trim()),
            _ => None,
        })
    }
}

impl Client<TcpStream> {
    pub fn end(&self) {
        self.0.shutdown(Shutdown::Write).unwrap();
    }
}

impl<S: Read + Write> Client<S> {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The proxy may have closed already: the answer says so.
        let _ = self.0.write_all(bytes.as_ref());
        let _ = self.0.flush();
    }

    /// Reads one answer, by its length.
    pub fn answer(&mut self) -> Answer {
        let head = read_head(&mut self.0);
        let status = head.get(9..12).map_or(0, |status| status.parse().unwrap());
        let mut answer = Answer {
            status,
            head,
            body: String::new(),
        };
        if let Some(length) = answer.header("content-length") {
            let length = length.parse().unwrap();
            answer.body = String::from_utf8(self.read(length)).unwrap();
        }
        answer
    }

    pub fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        self.0.read_exact(&mut read).unwrap();
        read
    }

    /// All until the end. A reset is an end, too.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Err(error) if !is_end(&error) => panic!("{error}"),
            _ => rest,
        }
    }
}

/// A head with its empty line, or what came before the connection ended.
pub fn read_head(stream: &mut impl Read) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => head.push(byte[0]),
            Err(error) if is_end(&error) => break,
            Err(error) => panic!("{error}: {}", String::from_utf8_lossy(&head)),
        }
    }
    String::from_utf8(head).unwrap()
}

/// Whether a connection has ended. TLS wants to be told first, and calls it an error if it is not.
fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), ConnectionReset | UnexpectedEof | BrokenPipe)
}
