//! What mediation costs, as JSON: an array of rows. `scripts/bench` runs it as it is released.
//!
//! The command is this program again. It makes, connects and closes sockets, to a listener of this
//! process on loopback, and prints the median of what each took.

#![expect(clippy::unwrap_used, reason = "a tool fails by panicking")]

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use sealfleet_mediation::{Mediation, Policy};

const ROUNDS: usize = 5000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.as_slice() {
        [kind, address] => println!("{}", median(kind, address)),
        _ => measure(),
    }
}

fn measure() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("socket");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || tcp.incoming().for_each(drop));
    std::thread::spawn(move || unix.incoming().for_each(drop));
    set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap();
    let mut rows = Vec::new();
    for (kind, to) in [
        ("socket", address.to_string()),
        ("tcp", address.to_string()),
        ("refused", "127.0.0.2:1".to_owned()),
        ("unix", path.to_str().unwrap().to_owned()),
    ] {
        for mediated in [false, true] {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args([kind, &to]).stdout(Stdio::piped());
            let child = if mediated {
                let policy = Policy {
                    proxies: vec![address],
                    ..Policy::default()
                };
                Mediation::new(policy)
                    .unwrap()
                    .start(&mut command)
                    .unwrap()
                    .0
            } else {
                command.spawn().unwrap()
            };
            let output = child.wait_with_output().unwrap();
            let median: f64 = String::from_utf8(output.stdout)
                .unwrap()
                .trim()
                .parse()
                .unwrap();
            rows.push(serde_json::json!({
                "what": kind,
                "mediated": mediated,
                "median_us": median,
            }));
        }
    }
    println!("{}", serde_json::Value::from(rows));
}

/// Of making one, in microseconds; its end is not counted.
fn median(kind: &str, address: &str) -> f64 {
    let inet: Option<SocketAddr> = address.parse().ok();
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            let took = match (kind, inet) {
                ("socket", _) => {
                    let made = rustix::net::socket(
                        rustix::net::AddressFamily::INET,
                        rustix::net::SocketType::STREAM,
                        None,
                    );
                    let took = begun.elapsed();
                    drop(made.unwrap());
                    took
                }
                (_, Some(inet)) => {
                    let made = TcpStream::connect(inet);
                    let took = begun.elapsed();
                    drop(made);
                    took
                }
                (_, None) => {
                    let made = UnixStream::connect(address);
                    let took = begun.elapsed();
                    drop(made.unwrap());
                    took
                }
            };
            took.as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let median = times.get(ROUNDS / 2).copied().unwrap_or_default();
    (median * 10.0).round() / 10.0
}
