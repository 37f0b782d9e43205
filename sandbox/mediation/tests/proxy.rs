//! A small HTTP proxy: it answers for every host, with files of one directory or a sentence.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What it says where it has no files.
pub const SENTENCE: &str = "through the proxy";

/// Serves; answers the count of its connections.
pub fn serve(listener: TcpListener, files: Option<PathBuf>) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            let files = files.clone();
            std::thread::spawn(move || answer(stream, files));
        }
    });
    count
}

fn answer(stream: TcpStream, files: Option<PathBuf>) {
    let mut stream = stream;
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            match header.trim_end().to_lowercase().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        if reader.read_exact(&mut vec![0; length]).is_err() {
            return;
        }
        let mut words = first.split_whitespace();
        let (Some(method), Some(url)) = (words.next(), words.next()) else {
            return;
        };
        if method == "CONNECT" {
            // The other end is played here as well.
            if stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").is_err() {
                return;
            }
            continue;
        }
        let path = match url.strip_prefix("http://") {
            Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
            None => url.trim_start_matches('/'),
        };
        let path = path.split('?').next().unwrap();
        let body = match &files {
            Some(files) => std::fs::read(files.join(path)).ok(),
            None => Some(SENTENCE.as_bytes().to_vec()),
        };
        let status = if body.is_some() {
            "200 OK"
        } else {
            "404 Not Found"
        };
        let body = body.unwrap_or_default();
        let mut answer = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        answer.extend(body);
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// Copies between a client and `to`, both ways.
pub fn relay(client: TcpStream, to: SocketAddr) {
    let server = TcpStream::connect(to).unwrap();
    for (mut from, mut to) in [
        (client.try_clone().unwrap(), server.try_clone().unwrap()),
        (server, client),
    ] {
        std::thread::spawn(move || {
            // One of them has hung up.
            drop(std::io::copy(&mut from, &mut to));
            drop(to.shutdown(std::net::Shutdown::Write));
        });
    }
}
