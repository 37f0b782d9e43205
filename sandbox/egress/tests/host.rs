//! Hosts that programs want to reach.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::world::read_head;

pub struct Host {
    pub address: SocketAddr,
    connections: Arc<Mutex<u64>>,
}

impl Host {
    /// Treats each connection in a thread of its own.
    pub fn start(treat: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)), treat)
    }

    pub fn at(address: SocketAddr, treat: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, treat) = (Arc::new(Mutex::new(0)), Arc::new(treat));
        let counted = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                *counted.lock().unwrap() += 1;
                let treat = Arc::clone(&treat);
                std::thread::spawn(move || treat(stream.unwrap()));
            }
        });
        Self {
            address,
            connections,
        }
    }

    /// Sends back what it gets.
    pub fn echo() -> Self {
        Self::start(echo)
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn connections(&self) -> u64 {
        *self.connections.lock().unwrap()
    }
}

pub fn echo(mut stream: TcpStream) {
    let mut reads = stream.try_clone().unwrap();
    let _ = std::io::copy(&mut reads, &mut stream);
    let _ = stream.shutdown(std::net::Shutdown::Write);
}

/// A web server that remembers what it was asked, and answers as it was told.
pub struct Web {
    pub host: Host,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Web {
    pub fn start() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }

    /// Each connection gets one answer and is closed.
    pub fn answering(answer: &'static str) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let host = Host::start(move |mut stream| {
            let request = read_request(&mut stream);
            seen.lock().unwrap().push(request);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        Self { host, requests }
    }

    pub fn port(&self) -> u16 {
        self.host.port()
    }

    /// The requests until now, as they came.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The only one.
    pub fn request(&self) -> String {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].clone()
    }
}

/// A head, and a body with a length or in chunks.
fn read_request(stream: &mut TcpStream) -> String {
    let mut request = read_head(stream);
    let lower = request.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1);
    if let Some(length) = length.and_then(|rest| rest.split("\r\n").next()) {
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        request += &String::from_utf8(body).unwrap();
    } else if lower.contains("transfer-encoding: chunked") {
        let (mut body, mut byte) = (Vec::new(), [0]);
        while !body.ends_with(b"0\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            body.push(byte[0]);
        }
        request += &String::from_utf8(body).unwrap();
    }
    request
}
