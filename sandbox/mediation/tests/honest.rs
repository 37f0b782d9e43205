//! Commands that do what commands do. Each exits with 0 if all is as it is without mediation.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixDatagram, UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::hostile::AtTheEnd;
use crate::proxy::SENTENCE;
use crate::stage::{DATAGRAM_TRAPS, OPEN, OUTSIDE, PROXY, TRAPS, WITHHELD};
use crate::sys::{done, errno, inet};

pub const PLAYS: &[(&str, fn())] = &[
    ("asks-the-proxy", ask_proxy),
    ("asks-from-many-threads", asks_from_many_threads),
    ("keeps-its-options", keeps_its_options),
    ("waits-by-epoll", waits_by_epoll),
    ("copies-before-it-connects", copies_before_it_connects),
    ("hangs-up", hangs_up),
    ("tries-again", tries_again),
    ("looks-for-a-free-port", looks_for_a_free_port),
    ("talks-to-itself", talks_to_itself),
    ("may-not-talk-to-itself", may_not_talk_to_itself),
    ("waits-for-a-full-listener", waits_for_a_full_listener),
    ("waits-for-a-full-port", waits_for_a_full_port),
    ("uses-unix-sockets", uses_unix_sockets),
    ("is-interrupted", is_interrupted),
    ("gets-through", gets_through),
];

/// # Panics
/// If the proxy does not answer.
pub fn ask_proxy() {
    ask(TcpStream::connect(PROXY).unwrap());
}

fn ask(mut stream: TcpStream) {
    stream
        .write_all(b"GET http://example.com/ HTTP/1.1\r\nhost: example.com\r\n\r\n")
        .unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    let mut body = vec![0; SENTENCE.len()];
    reader.read_exact(&mut body).unwrap();
    assert_eq!(body, SENTENCE.as_bytes());
}

/// A socket that is not connected yet.
fn tcp(flags: i32) -> OwnedFd {
    let made = done(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | flags, 0) });
    unsafe { OwnedFd::from_raw_fd(made as RawFd) }
}

fn connect(socket: &OwnedFd, address: &str) -> Result<(), i32> {
    let std::net::SocketAddr::V4(address) = address.parse().unwrap() else {
        panic!("{address}");
    };
    let address = inet(*address.ip(), address.port());
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), 16) };
    if result < 0 { Err(errno()) } else { Ok(()) }
}

fn asks_from_many_threads() {
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                for _ in 0..20 {
                    ask_proxy();
                    assert!(TcpStream::connect("10.77.0.1:443").is_err());
                }
            });
        }
    });
}

fn keeps_its_options() {
    let socket = tcp(0);
    let set = |level, name, value: i32| {
        let number = socket.as_raw_fd();
        done(unsafe { libc::setsockopt(number, level, name, (&raw const value).cast(), 4) });
    };
    let get = |level, name| {
        let (mut value, mut length) = (0, 4);
        let number = socket.as_raw_fd();
        done(unsafe {
            libc::getsockopt(
                number,
                level,
                name,
                (&raw mut value).cast(),
                &raw mut length,
            )
        });
        value
    };
    set(libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
    set(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
    set(libc::SOL_SOCKET, libc::SO_RCVBUF, 20_000);
    let address = inet(std::net::Ipv4Addr::LOCALHOST, 0);
    done(unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), 16) });
    assert_eq!(connect(&socket, PROXY), Ok(()));
    assert_eq!(get(libc::IPPROTO_TCP, libc::TCP_NODELAY), 1);
    assert_eq!(get(libc::SOL_SOCKET, libc::SO_KEEPALIVE), 1);
    assert_eq!(get(libc::SOL_SOCKET, libc::SO_RCVBUF), 40_000);
    let flags = |command| unsafe { libc::fcntl(socket.as_raw_fd(), command) };
    assert_eq!(flags(libc::F_GETFL) & libc::O_NONBLOCK, 0);
    assert_eq!(flags(libc::F_GETFD), 0);
    ask(TcpStream::from(socket));
    let socket = tcp(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
    let flags = |command| unsafe { libc::fcntl(socket.as_raw_fd(), command) };
    assert_ne!(flags(libc::F_GETFL) & libc::O_NONBLOCK, 0);
    assert_eq!(flags(libc::F_GETFD), libc::FD_CLOEXEC);
}

/// Registered before it is connected, as Boost.Asio and Netty do.
fn waits_by_epoll() {
    let epoll = done(unsafe { libc::epoll_create1(0) }) as RawFd;
    let socket = tcp(libc::SOCK_NONBLOCK);
    let wanted = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET;
    let mut event = libc::epoll_event {
        events: wanted as u32,
        u64: 7,
    };
    done(unsafe {
        libc::epoll_ctl(
            epoll,
            libc::EPOLL_CTL_ADD,
            socket.as_raw_fd(),
            &raw mut event,
        )
    });
    let told = connect(&socket, PROXY);
    assert!([Ok(()), Err(libc::EINPROGRESS)].contains(&told), "{told:?}");
    let wait = |event: &mut libc::epoll_event| unsafe { libc::epoll_wait(epoll, event, 1, 5000) };
    loop {
        assert_eq!(wait(&mut event), 1, "it is never writable");
        if event.events & libc::EPOLLOUT as u32 != 0 && event.events & libc::EPOLLHUP as u32 == 0 {
            break;
        }
    }
    let mut stream = TcpStream::from(socket);
    assert!(stream.take_error().unwrap().is_none());
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    loop {
        assert_eq!(wait(&mut event), 1, "no answer is told");
        if event.events & libc::EPOLLIN as u32 != 0 {
            break;
        }
    }
    assert!(stream.read(&mut [0; 64]).unwrap() > 0);
}

fn copies_before_it_connects() {
    let socket = tcp(0);
    let copy = socket.try_clone().unwrap();
    assert_eq!(connect(&socket, PROXY), Ok(()));
    drop(socket);
    ask(TcpStream::from(copy));
}

/// The other side hears of it when the command closes its last descriptor.
fn hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut times = Vec::new();
    for round in 0..20 {
        let client = tcp(0);
        assert_eq!(connect(&client, &address.to_string()), Ok(()));
        let (mut server, _) = listener.accept().unwrap();
        server
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        if round % 2 == 0 {
            server.write_all(b"unread").unwrap();
        }
        let closed = Instant::now();
        drop(client);
        let told = server.read(&mut [0; 8]).map_err(|error| error.kind());
        assert!(
            [Ok(0), Err(io::ErrorKind::ConnectionReset)].contains(&told),
            "{told:?}"
        );
        times.push(closed.elapsed());
    }
    // If it were found out by looking, most would take a second.
    times.sort();
    assert!(times[10] < Duration::from_millis(800), "{times:?}");
    drop(listener);
    // It is no longer the command's.
    assert!(TcpStream::connect(address).is_err());
}

/// A socket that could not be connected is still good for another attempt.
fn tries_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = tcp(0);
    assert_eq!(connect(&socket, "10.77.0.1:443"), Err(libc::EACCES));
    assert_eq!(connect(&socket, PROXY), Ok(()));
    ask(TcpStream::from(socket));
    drop(listener);
}

/// Binds a port, closes it, and has it for something else.
fn looks_for_a_free_port() {
    for _ in 0..20 {
        let socket = tcp(0);
        let mut address = inet(std::net::Ipv4Addr::LOCALHOST, 0);
        let (at, mut length) = ((&raw mut address).cast::<libc::sockaddr>(), 16);
        done(unsafe { libc::bind(socket.as_raw_fd(), at, 16) });
        done(unsafe { libc::getsockname(socket.as_raw_fd(), at, &raw mut length) });
        drop(socket);
        let again = tcp(0);
        let listening = unsafe { libc::bind(again.as_raw_fd(), at, 16) };
        assert_eq!(listening, 0, "{}", io::Error::last_os_error());
        done(unsafe { libc::listen(again.as_raw_fd(), 1) });
        drop(again);
        // And at once again: nobody else keeps it listening.
        let again = tcp(0);
        assert_eq!(unsafe { libc::bind(again.as_raw_fd(), at, 16) }, 0);
    }
}

/// A server and its client, by both families.
fn talks_to_itself() {
    for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
        let listener = match TcpListener::bind(address) {
            // A host can be without IPv6.
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => continue,
            bound => bound.unwrap(),
        };
        let port = listener.local_addr().unwrap().port();
        let to = if address.starts_with("[::1") {
            format!("[::1]:{port}")
        } else {
            format!("127.0.0.1:{port}")
        };
        let mut client = TcpStream::connect(to).unwrap();
        let (mut server, peer) = listener.accept().unwrap();
        assert_eq!(peer.port(), client.local_addr().unwrap().port());
        server.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");
    }
    // Beside listeners of others on the same port of another address.
    let also = TcpListener::bind("127.0.0.9:4000").unwrap();
    assert!(TcpStream::connect("127.0.0.1:4000").is_err());
    assert!(TcpStream::connect("127.0.0.9:4000").is_ok());
    drop(also);
    ask_proxy();
}

fn may_not_talk_to_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let told = TcpStream::connect(listener.local_addr().unwrap()).unwrap_err();
    assert_eq!(told.kind(), io::ErrorKind::PermissionDenied);
    ask_proxy();
}

/// A connection that is not taken holds nobody else up, and is made once there is room.
fn waits_for_a_full_listener() {
    drop(std::fs::remove_file("full.sock"));
    let listener = UnixListener::bind("full.sock").unwrap();
    done(unsafe { libc::listen(listener.as_raw_fd(), 0) });
    let first = UnixStream::connect("full.sock").unwrap();
    let second = thread::spawn(|| UnixStream::connect("full.sock").map(drop));
    // Nothing shows from here that it waits. If it does not yet, the case passes all the same.
    thread::sleep(Duration::from_millis(100));
    let begun = Instant::now();
    for _ in 0..50 {
        ask_proxy();
    }
    assert!(!second.is_finished(), "there was room");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "the others were held up"
    );
    // Without waiting it is told.
    let made =
        done(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0) });
    let third = unsafe { OwnedFd::from_raw_fd(made as RawFd) };
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    for (to, from) in address.sun_path.iter_mut().zip(b"full.sock") {
        *to = from.cast_signed();
    }
    let length = size_of_val(&address) as u32;
    let told = unsafe { libc::connect(third.as_raw_fd(), (&raw const address).cast(), length) };
    assert_eq!((told, errno()), (-1, libc::EAGAIN));
    drop(listener.accept().unwrap());
    second.join().unwrap().unwrap();
    drop(first);
}

/// The same of TCP, which tries again by itself.
fn waits_for_a_full_port() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    done(unsafe { libc::listen(listener.as_raw_fd(), 0) });
    let address = listener.local_addr().unwrap();
    let first = TcpStream::connect(address).unwrap();
    let second = thread::spawn(move || TcpStream::connect(address));
    // As above: it has to wait by now for the case to try anything.
    thread::sleep(Duration::from_millis(100));
    for _ in 0..50 {
        ask_proxy();
    }
    assert!(!second.is_finished(), "there was room");
    drop(listener.accept().unwrap());
    let mut second = second.join().unwrap().unwrap();
    drop(listener.accept().unwrap());
    assert_eq!(second.read(&mut [0]).unwrap(), 0);
    drop(first);
}

fn uses_unix_sockets() {
    drop(std::fs::create_dir("inner"));
    for path in ["own.sock", "inner/own.sock", "inner/../own2.sock"] {
        let listener = UnixListener::bind(path).unwrap();
        let mut client = UnixStream::connect(path).unwrap();
        let whole = std::env::current_dir().unwrap().join(path);
        drop(UnixStream::connect(whole).unwrap());
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"hi").unwrap();
        drop(server);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).unwrap();
        assert_eq!(heard, b"hi");
    }
    let mut heard = Vec::new();
    UnixStream::connect(OPEN)
        .unwrap()
        .read_to_end(&mut heard)
        .unwrap();
    assert_eq!(heard, b"open");
    let told = |path: &str| UnixStream::connect(path).unwrap_err().raw_os_error();
    assert_eq!(told("missing.sock"), Some(libc::ENOENT));
    std::fs::write("file", "").unwrap();
    assert_eq!(told("file"), Some(libc::ECONNREFUSED));
    // The listener has gone.
    assert_eq!(told("own2.sock"), Some(libc::ECONNREFUSED));

    let name = UnixAddress::from_abstract_name(b"own\0name").unwrap();
    let listener = UnixListener::bind_addr(&name).unwrap();
    drop(UnixStream::connect_addr(&name).unwrap());
    drop(listener.accept().unwrap());
    let none = UnixAddress::from_abstract_name(b"nobody").unwrap();
    let told = UnixStream::connect_addr(&none).unwrap_err();
    assert_eq!(told.kind(), io::ErrorKind::ConnectionRefused);

    let server = UnixDatagram::bind("datagrams").unwrap();
    let client = UnixDatagram::unbound().unwrap();
    client.connect("datagrams").unwrap();
    client.send(b"one").unwrap();
    let mut heard = [0; 3];
    server.recv(&mut heard).unwrap();
    assert_eq!(&heard, b"one");

    let pair = done(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0) });
    drop(unsafe { OwnedFd::from_raw_fd(pair as RawFd) });
}

/// Signals with handlers come while it connects, as in Go's programs.
fn is_interrupted() {
    extern "C" fn nothing(_: i32) {}
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    action.sa_flags = libc::SA_RESTART;
    done(unsafe { libc::sigaction(libc::SIGURG, &raw const action, std::ptr::null_mut()) });
    let main = unsafe { libc::pthread_self() };
    let over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = AtTheEnd(&over);
        scope.spawn(|| {
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                unsafe { libc::pthread_kill(main, libc::SIGURG) };
                // Often enough to meet each call, and not so often that none gets on.
                thread::sleep(Duration::from_micros(50));
            }
        });
        for _ in 0..500 {
            let socket = tcp(0);
            assert_eq!(connect(&socket, PROXY), Ok(()));
        }
    });
    ask_proxy();
}

/// Reaches every trap. Only somebody whom nobody mediates can.
fn gets_through() {
    for trap in TRAPS {
        drop(TcpStream::connect(trap).unwrap());
    }
    let datagrams = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    for trap in DATAGRAM_TRAPS {
        datagrams.send_to(b"x", trap).unwrap();
    }
    drop(UnixStream::connect_addr(&UnixAddress::from_abstract_name(OUTSIDE).unwrap()).unwrap());
    drop(UnixStream::connect(WITHHELD).unwrap());
}
