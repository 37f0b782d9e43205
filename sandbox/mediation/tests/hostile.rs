//! Commands that look for a way out. Each exits with 0 if every attempt was refused as it should
//! be, and the proxy is still reached after it. That nothing arrived elsewhere is for the stage to
//! say.

use std::io;
use std::mem::size_of_val;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use libc::{c_int, c_long, sockaddr_in};

use crate::honest::ask_proxy;
use crate::stage::{OPEN, OUTSIDE, PROXY, TRAPS, WITHHELD};
use crate::sys::{done, errno, inet};

pub const PLAYS: &[(&str, fn())] = &[
    ("asks-everywhere", asks_everywhere),
    ("writes-ipv4-as-ipv6", writes_ipv4_as_ipv6),
    ("races-the-address", races_the_address),
    ("races-the-descriptor", races_the_descriptor),
    ("races-bind-and-listen", races_bind_and_listen),
    ("forks-and-hides", forks_and_hides),
    (
        "shares-its-memory-with-a-child",
        shares_its_memory_with_a_child,
    ),
    ("passes-a-socket-on", passes_a_socket_on),
    ("sends-without-connecting", sends_without_connecting),
    ("defers-its-connection", defers_its_connection),
    ("connects-twice", connects_twice),
    ("uses-io-uring", uses_io_uring),
    ("uses-other-numberings", uses_other_numberings),
    ("uses-other-sockets", uses_other_sockets),
    ("wants-its-own-listener", wants_its_own_listener),
    ("makes-namespaces", makes_namespaces),
    ("reaches-into-others", reaches_into_others),
    ("cannot-be-read", cannot_be_read),
    ("gives-up-root", gives_up_root),
    ("names-nonsense", names_nonsense),
    ("fills-tables", fills_tables),
    ("dies-while-it-connects", dies_while_it_connects),
    ("reaches-for-unix-sockets", reaches_for_unix_sockets),
    ("reaches-through-proc", reaches_through_proc),
];

const FORBIDDEN: &str = TRAPS[0];

fn tcp() -> OwnedFd {
    socket(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap()
}

fn socket(family: c_int, kind: c_int, protocol: c_int) -> Result<OwnedFd, i32> {
    let made = unsafe { libc::socket(family, kind, protocol) };
    if made < 0 {
        Err(errno())
    } else {
        Ok(unsafe { OwnedFd::from_raw_fd(made) })
    }
}

fn v4(address: &str) -> sockaddr_in {
    match address.parse().unwrap() {
        SocketAddr::V4(address) => inet(*address.ip(), address.port()),
        SocketAddr::V6(address) => panic!("{address}"),
    }
}

/// The system's answer to a raw `connect`.
fn connect<T>(socket: RawFd, address: &T) -> Result<(), i32> {
    connect_by(libc::SYS_connect, socket, address)
}

fn connect_by<T>(number: c_long, socket: RawFd, address: &T) -> Result<(), i32> {
    let result = unsafe {
        libc::syscall(
            number,
            socket,
            std::ptr::from_ref(address),
            size_of_val(address),
        )
    };
    if result < 0 { Err(errno()) } else { Ok(()) }
}

fn refused(result: Result<(), i32>) {
    assert_eq!(result, Err(libc::EACCES));
}

/// Ends the other side of a race, also when this one fails.
pub struct AtTheEnd<'a>(pub &'a AtomicBool);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits for a child, which must end well.
fn ends_well(child: c_int) {
    let mut status = 0;
    done(unsafe { libc::waitpid(child, &raw mut status, 0) });
    assert_eq!(status, 0);
}

/// Runs `part` in a child. It must not return.
fn fork(part: impl FnOnce()) -> c_int {
    let child = done(unsafe { libc::fork() }) as c_int;
    if child == 0 {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(part));
        unsafe { libc::_exit(i32::from(ended.is_err())) };
    }
    child
}

fn asks_everywhere() {
    for trap in TRAPS {
        let error = TcpStream::connect(trap).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{trap}");
    }
    // Twice, and in a way that is not waited for.
    let error = TcpStream::connect_timeout(&FORBIDDEN.parse().unwrap(), Duration::from_secs(5));
    assert_eq!(error.unwrap_err().raw_os_error(), Some(libc::EACCES));
    ask_proxy();
}

fn writes_ipv4_as_ipv6() {
    let six = || socket(libc::AF_INET6, libc::SOCK_STREAM, 0).unwrap();
    let to = |ip: Ipv6Addr, port| {
        let mut address: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
        address.sin6_family = libc::AF_INET6 as u16;
        address.sin6_port = u16::to_be(port);
        address.sin6_addr.s6_addr = ip.octets();
        connect(six().as_raw_fd(), &address)
    };
    for trap in TRAPS {
        if let SocketAddr::V4(trap) = trap.parse().unwrap() {
            refused(to(trap.ip().to_ipv6_mapped(), trap.port()));
        }
    }
    refused(to(Ipv6Addr::LOCALHOST, 3128));
    refused(to(Ipv6Addr::UNSPECIFIED, 3128));
    // IPv4-compatible, NAT64, 6to4.
    for odd in ["::127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::"] {
        refused(to(odd.parse().unwrap(), 3128));
    }
    // Means loopback, too.
    refused(connect(
        tcp().as_raw_fd(),
        &inet(Ipv4Addr::UNSPECIFIED, 3128),
    ));
    refused(connect(
        tcp().as_raw_fd(),
        &inet(Ipv4Addr::UNSPECIFIED, 4000),
    ));
    // The proxy may be written so.
    assert_eq!(to(Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 3128), Ok(()));
    ask_proxy();
}

/// Writes one and the other address to the same place while connections are asked for.
fn races_the_address() {
    let shared = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    let place = shared.cast::<sockaddr_in>() as usize;
    let [good, bad] = [PROXY, FORBIDDEN].map(v4);
    // Zeros are the address that dissolves a connection, which succeeds.
    unsafe { std::ptr::write_volatile(place as *mut sockaddr_in, good) };
    let over = AtomicBool::new(false);
    let (mut made, mut denied) = (0, 0);
    thread::scope(|scope| {
        let _over = AtTheEnd(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for address in [good, bad] {
                    unsafe { std::ptr::write_volatile(place as *mut sockaddr_in, address) };
                }
            }
        });
        // On a busy machine both sides take their turns late.
        for round in 0.. {
            if round > 3000 && made > 10 && denied > 10 {
                break;
            }
            let socket = tcp();
            let result =
                unsafe { libc::connect(socket.as_raw_fd(), place as *const libc::sockaddr, 16) };
            if result == 0 {
                made += 1;
                assert_eq!(
                    TcpStream::from(socket).peer_addr().unwrap(),
                    PROXY.parse().unwrap()
                );
            } else {
                denied += 1;
                assert_eq!(errno(), libc::EACCES);
            }
        }
    });
    ask_proxy();
}

/// Puts other descriptors into the place of the one that is being connected.
fn races_the_descriptor() {
    let place = done(unsafe { libc::fcntl(0, libc::F_DUPFD, 50) }) as RawFd;
    let current = AtomicI32::new(-1);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = AtTheEnd(&over);
        scope.spawn(|| {
            let (mine, other) = UnixStream::pair().unwrap();
            while !over.load(Ordering::Relaxed) {
                let inet = current.load(Ordering::Relaxed);
                for from in [mine.as_raw_fd(), inet, 0] {
                    unsafe { libc::dup2(from, place) };
                }
            }
            drop(other);
        });
        for round in 0..3000 {
            let socket = tcp();
            current.store(socket.as_raw_fd(), Ordering::Relaxed);
            let (address, may) = if round % 2 == 0 {
                (PROXY, true)
            } else {
                (FORBIDDEN, false)
            };
            let result = connect(place, &v4(address));
            assert!(may || result.is_err());
            if let Ok(peer) = TcpStream::from(socket).peer_addr() {
                assert_eq!(peer, PROXY.parse().unwrap());
            }
        }
    });
    ask_proxy();
}

/// These calls are passed on, whatever the descriptor is by then.
fn races_bind_and_listen() {
    let place = done(unsafe { libc::fcntl(0, libc::F_DUPFD, 50) }) as RawFd;
    let over = AtomicBool::new(false);
    let [one, other] = [tcp(), socket(libc::AF_UNIX, libc::SOCK_STREAM, 0).unwrap()];
    thread::scope(|scope| {
        let _over = AtTheEnd(&over);
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for from in [&one, &other] {
                    unsafe { libc::dup2(from.as_raw_fd(), place) };
                }
            }
        });
        let address = inet(Ipv4Addr::LOCALHOST, 0);
        for _ in 0..2000 {
            unsafe { libc::bind(place, (&raw const address).cast(), 16) };
            unsafe { libc::listen(place, 1) };
            assert!(connect(place, &v4(FORBIDDEN)).is_err());
        }
    });
    ask_proxy();
}

fn forks_and_hides() {
    let child = fork(|| {
        done(unsafe { libc::setsid() });
        // A daemon: its parent is gone.
        fork(|| {
            unsafe { libc::setpgid(0, 0) };
            // Until its parent has ended and been waited for.
            thread::sleep(Duration::from_millis(50));
            for trap in TRAPS {
                assert!(TcpStream::connect(trap).is_err());
            }
            ask_proxy();
        });
    });
    ends_well(child);
    ask_proxy();
}

fn shares_its_memory_with_a_child() {
    // As vfork, whose child may do next to nothing in Rust.
    let flags = libc::CLONE_VM | libc::CLONE_FILES;
    let mut stack = vec![0_u8; 256 * 1024];
    extern "C" fn part(_: *mut libc::c_void) -> c_int {
        let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
        let refused = connect(socket, &v4(FORBIDDEN)) == Err(libc::EACCES);
        let made = connect(socket, &v4(PROXY)) == Ok(());
        c_int::from(!(refused && made))
    }
    let top = unsafe { stack.as_mut_ptr().add(stack.len() & !15) };
    let flags = flags | libc::CLONE_VFORK | libc::SIGCHLD;
    let child = unsafe { libc::clone(part, top.cast(), flags, std::ptr::null_mut()) };
    ends_well(done(child) as c_int);
    ask_proxy();
}

fn passes_a_socket_on() {
    let (mine, its) = UnixStream::pair().unwrap();
    let child = fork(|| {
        let socket = tcp();
        send_descriptor(&its, socket.as_raw_fd());
    });
    let socket = receive_descriptor(&mine);
    ends_well(child);
    // Its maker has gone.
    refused(connect(socket.as_raw_fd(), &v4(FORBIDDEN)));
    assert_eq!(connect(socket.as_raw_fd(), &v4(PROXY)), Ok(()));
    ask_proxy();
}

#[repr(C, align(8))]
struct Control([u8; 24]);

fn message(byte: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = byte;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = 24;
    message
}

fn send_descriptor(to: &UnixStream, descriptor: RawFd) {
    let mut byte = *b"d";
    let mut vector = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut control = Control([0; 24]);
    let message = message(&mut vector, &mut control);
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(header)
            .cast::<c_int>()
            .write_unaligned(descriptor);
    }
    done(unsafe { libc::sendmsg(to.as_raw_fd(), &raw const message, 0) } as i64);
}

fn receive_descriptor(from: &UnixStream) -> OwnedFd {
    let mut byte = [0];
    let mut vector = libc::iovec {
        iov_base: byte.as_mut_ptr().cast::<u8>().cast(),
        iov_len: 1,
    };
    let mut control = Control([0; 24]);
    let mut message = message(&mut vector, &mut control);
    done(unsafe { libc::recvmsg(from.as_raw_fd(), &raw mut message, 0) } as i64);
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<c_int>().read_unaligned())
    }
}

/// TCP Fast Open connects by sending.
fn sends_without_connecting() {
    let mut address = v4(FORBIDDEN);
    for flags in [
        libc::MSG_FASTOPEN,
        libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL,
        libc::MSG_NOSIGNAL,
    ] {
        let fast = flags & libc::MSG_FASTOPEN != 0;
        let mut byte = *b"x";
        let mut vector = libc::iovec {
            iov_base: byte.as_mut_ptr().cast(),
            iov_len: 1,
        };
        let mut messages: [libc::mmsghdr; 1] = unsafe { std::mem::zeroed() };
        let message = &mut messages[0].msg_hdr;
        message.msg_name = (&raw mut address).cast();
        message.msg_namelen = 16;
        message.msg_iov = &raw mut vector;
        message.msg_iovlen = 1;
        let sent = |result: i64| {
            assert_eq!(result, -1);
            if fast {
                assert_eq!(errno(), libc::EOPNOTSUPP);
            }
        };
        let socket = tcp();
        let to = (&raw const address).cast();
        sent(
            unsafe { libc::sendto(socket.as_raw_fd(), byte.as_ptr().cast(), 1, flags, to, 16) }
                as i64,
        );
        let header = &raw const messages[0].msg_hdr;
        sent(unsafe { libc::sendmsg(socket.as_raw_fd(), header, flags) } as i64);
        let many = messages.as_mut_ptr();
        sent(unsafe { libc::sendmmsg(socket.as_raw_fd(), many, 1, flags as _) } as i64);
    }
    ask_proxy();
}

/// With TCP_FASTOPEN_CONNECT the connection is made by the first `write`.
fn defers_its_connection() {
    let defer = |socket: &OwnedFd| {
        let on: c_int = 1;
        done(unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_FASTOPEN_CONNECT,
                (&raw const on).cast(),
                4,
            )
        });
    };
    let write = |socket: &OwnedFd, to: &sockaddr_in| unsafe {
        let flags = libc::MSG_NOSIGNAL;
        libc::sendto(
            socket.as_raw_fd(),
            b"x".as_ptr().cast(),
            1,
            flags,
            std::ptr::from_ref(to).cast(),
            16,
        )
    };
    let socket = tcp();
    defer(&socket);
    refused(connect(socket.as_raw_fd(), &v4(FORBIDDEN)));
    assert_eq!(write(&socket, &v4(FORBIDDEN)), -1);
    // Permitted, deferred, and then sent elsewhere.
    for _ in 0..3 {
        let socket = tcp();
        defer(&socket);
        assert_eq!(connect(socket.as_raw_fd(), &v4(PROXY)), Ok(()));
        write(&socket, &v4(FORBIDDEN));
        if let Ok(peer) = TcpStream::from(socket).peer_addr() {
            assert_eq!(peer, PROXY.parse().unwrap());
        }
    }
    ask_proxy();
}

/// A connection is undone, and made anew elsewhere.
fn connects_twice() {
    let socket = tcp();
    let nothing = libc::AF_UNSPEC as u64;
    assert_eq!(connect(socket.as_raw_fd(), &nothing), Ok(()));
    assert_eq!(connect(socket.as_raw_fd(), &v4(PROXY)), Ok(()));
    refused(connect(socket.as_raw_fd(), &v4(FORBIDDEN)));
    assert_eq!(connect(socket.as_raw_fd(), &v4(PROXY)), Err(libc::EISCONN));
    assert_eq!(connect(socket.as_raw_fd(), &nothing), Err(libc::EISCONN));
    refused(connect(socket.as_raw_fd(), &v4(FORBIDDEN)));
    // Undone by a send, which needs no `connect`.
    let flags = libc::MSG_NOSIGNAL;
    let to = (&raw const nothing).cast();
    unsafe { libc::sendto(socket.as_raw_fd(), b"x".as_ptr().cast(), 1, flags, to, 8) };
    refused(connect(socket.as_raw_fd(), &v4(FORBIDDEN)));
    ask_proxy();
}

fn uses_io_uring() {
    let mut parameters = [0_u8; 120];
    let made = unsafe { libc::syscall(libc::SYS_io_uring_setup, 8, parameters.as_mut_ptr()) };
    assert_eq!((made, errno()), (-1, libc::ENOSYS));
    for number in [libc::SYS_io_uring_enter, libc::SYS_io_uring_register] {
        let result = unsafe { libc::syscall(number, -1, 0, 0, 0, 0, 0) };
        assert_eq!((result, errno()), (-1, libc::ENOSYS));
    }
    ask_proxy();
}

#[cfg(target_arch = "x86_64")]
fn uses_other_numberings() {
    let socket = tcp();
    // x32.
    for number in [
        0x4000_0000 | libc::SYS_connect,
        0x4000_0000 | libc::SYS_socket,
    ] {
        let result = connect_by(number, socket.as_raw_fd(), &v4(FORBIDDEN));
        assert_eq!(result, Err(libc::ENOSYS));
    }
    // The 32-bit entry: `socketcall(SYS_SOCKET)`, `connect`, `getpid`.
    for number in [102, 362, 20] {
        let child = fork(move || {
            let mut result: i64 = number;
            unsafe {
                std::arch::asm!("push rbx", "mov ebx, 1", "int 0x80", "pop rbx", inout("rax") result, in("rcx") 0, in("rdx") 0);
            }
            // If 32-bit programs can run at all, this would be reached.
            unsafe {
                libc::_exit(if result == i64::from(-libc::ENOSYS) {
                    7
                } else {
                    1
                })
            };
        });
        let mut status = 0;
        done(unsafe { libc::waitpid(child, &raw mut status, 0) });
        assert!(libc::WIFSIGNALED(status), "{status:#x}");
        assert!(
            [libc::SIGSYS, libc::SIGSEGV].contains(&libc::WTERMSIG(status)),
            "{status:#x}"
        );
    }
    ask_proxy();
}

#[cfg(not(target_arch = "x86_64"))]
fn uses_other_numberings() {
    ask_proxy();
}

fn uses_other_sockets() {
    let (inet, inet6) = (libc::AF_INET, libc::AF_INET6);
    for family in [inet, inet6] {
        for (kind, protocol) in [
            (libc::SOCK_DGRAM, 0),
            (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, libc::IPPROTO_UDP),
            (libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
            (libc::SOCK_RAW, libc::IPPROTO_RAW),
            (libc::SOCK_RAW, libc::IPPROTO_TCP),
            (libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
            (libc::SOCK_STREAM, libc::IPPROTO_SCTP),
            (libc::SOCK_SEQPACKET, libc::IPPROTO_SCTP),
        ] {
            let told = socket(family, kind, protocol);
            assert_eq!(told.err(), Some(libc::EACCES), "{family} {kind} {protocol}");
        }
    }
    let afs = [
        libc::AF_VSOCK,
        libc::AF_PACKET,
        libc::AF_ALG,
        libc::AF_XDP,
        libc::AF_TIPC,
        libc::AF_KEY,
        libc::AF_CAN,
        libc::AF_BLUETOOTH,
        43, // AF_SMC
        41, // AF_KCM
    ];
    for family in afs {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_RAW] {
            assert_eq!(
                socket(family, kind, 0).err(),
                Some(libc::EAFNOSUPPORT),
                "{family}"
            );
        }
    }
    for protocol in 1..22 {
        let told = socket(libc::AF_NETLINK, libc::SOCK_RAW, protocol);
        assert_eq!(told.err(), Some(libc::EAFNOSUPPORT), "netlink {protocol}");
    }
    assert!(socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE).is_ok());
    assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_err());
    ask_proxy();
}

/// A filter of its own can only take more away.
fn wants_its_own_listener() {
    let allow = [libc::sock_filter {
        code: 6,
        jt: 0,
        jf: 0,
        k: libc::SECCOMP_RET_ALLOW,
    }];
    let program = libc::sock_fprog {
        len: 1,
        filter: allow.as_ptr().cast_mut(),
    };
    let load = |flags: libc::c_ulong| unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    assert_eq!(
        (load(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER), errno()),
        (-1, libc::EBUSY)
    );
    assert_eq!(load(0), 0);
    refused(connect(tcp().as_raw_fd(), &v4(FORBIDDEN)));
    ask_proxy();
}

/// A network namespace of its own is empty, and its sockets are not of it.
fn makes_namespaces() {
    let child = fork(|| {
        // Not every host lets anybody make one.
        let made = unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) };
        eprintln!("namespaces made: {}", made == 0);
        for trap in TRAPS {
            assert!(TcpStream::connect(trap).is_err());
        }
        assert!(socket(libc::AF_PACKET, libc::SOCK_RAW, 0).is_err());
    });
    ends_well(child);
    ask_proxy();
}

fn reaches_into_others() {
    let parent = unsafe { libc::getppid() };
    let mut byte = [0_u8; 1];
    let mut here = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let calls: [(c_long, [i64; 6]); 5] = [
        (
            libc::SYS_ptrace,
            [i64::from(libc::PTRACE_SEIZE), i64::from(parent), 0, 0, 0, 0],
        ),
        (
            libc::SYS_process_vm_readv,
            [
                i64::from(parent),
                (&raw mut here) as i64,
                1,
                (&raw mut here) as i64,
                1,
                0,
            ],
        ),
        (
            libc::SYS_process_vm_writev,
            [
                i64::from(parent),
                (&raw mut here) as i64,
                1,
                (&raw mut here) as i64,
                1,
                0,
            ],
        ),
        (
            libc::SYS_kcmp,
            [i64::from(parent), i64::from(parent), 0, 0, 0, 0],
        ),
        (
            libc::SYS_pidfd_getfd,
            [
                done(unsafe { libc::syscall(libc::SYS_pidfd_open, parent, 0) }),
                0,
                0,
                0,
                0,
                0,
            ],
        ),
    ];
    for (number, [a, b, c, d, e, f]) in calls {
        let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
        assert_eq!((result, errno()), (-1, libc::EPERM), "{number}");
    }
    if unsafe { libc::geteuid() } != 0 {
        for file in ["mem", "environ", "fd", "root", "cwd"] {
            let file = format!("/proc/{parent}/{file}/");
            let opened = std::fs::read_dir(&file)
                .map(drop)
                .or(std::fs::read(file.trim_end_matches('/')).map(drop));
            assert!(opened.is_err(), "{file} can be read");
        }
    }
    ask_proxy();
}

/// A process that cannot be read gets nothing.
fn cannot_be_read() {
    let child = fork(|| {
        crate::sys::hide();
        for address in [PROXY, FORBIDDEN] {
            refused(connect(tcp().as_raw_fd(), &v4(address)));
        }
        // It may still offer something, as agents of keys do.
        let listening = tcp();
        let address = inet(Ipv4Addr::LOCALHOST, 4999);
        done(unsafe { libc::bind(listening.as_raw_fd(), (&raw const address).cast(), 16) });
        done(unsafe { libc::listen(listening.as_raw_fd(), 1) });
    });
    ends_well(child);
    // Nobody keeps it open.
    drop(std::net::TcpListener::bind("127.0.0.1:4999").unwrap());
    ask_proxy();
}

/// Who has given up a right does not get it back from who connects for it.
fn gives_up_root() {
    let private = std::os::unix::net::UnixListener::bind("private.sock").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions("private.sock", mode).unwrap();
    if unsafe { libc::geteuid() } == 0 {
        let child = fork(|| {
            done(unsafe { libc::setresgid(1, 1, 1) });
            done(unsafe { libc::setresuid(1, 1, 1) });
            let told = UnixStream::connect("private.sock").unwrap_err();
            assert_eq!(told.raw_os_error(), Some(libc::EACCES));
        });
        ends_well(child);
    }
    assert!(UnixStream::connect("private.sock").is_ok());
    drop(private);
    ask_proxy();
}

fn names_nonsense() {
    let good = v4(PROXY);
    let raw = |descriptor: RawFd, from: usize, length: i64| {
        let result = unsafe { libc::syscall(libc::SYS_connect, descriptor, from, length) };
        if result < 0 { Err(errno()) } else { Ok(()) }
    };
    let socket = tcp();
    let at = (&raw const good) as usize;
    let number = socket.as_raw_fd();
    assert_eq!(raw(999, at, 16), Err(libc::EBADF));
    assert_eq!(raw(-1, at, 16), Err(libc::EBADF));
    assert_eq!(raw(0, at, 16), Err(libc::ENOTSOCK));
    assert_eq!(raw(number, 8, 16), Err(libc::EFAULT));
    assert_eq!(raw(number, usize::MAX - 4, 16), Err(libc::EFAULT));
    for length in [0, 1, 15, 129, -1, i64::from(i32::MAX)] {
        assert_eq!(raw(number, at, length), Err(libc::EINVAL), "{length}");
    }
    let odd = [38_u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(connect(number, &odd), Err(libc::EAFNOSUPPORT));
    // At the end of what is mapped.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            8192,
            3,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    done(unsafe { libc::munmap(page.byte_add(4096), 4096) });
    assert_eq!(raw(number, page as usize + 4096 - 8, 16), Err(libc::EFAULT));
    // The upper half of a register is not looked at by anybody.
    let high = i64::from(number) | (1 << 40);
    let result = unsafe { libc::syscall(libc::SYS_connect, high, at, 16_i64 | (1 << 33)) };
    assert_eq!(result, 0);
    ask_proxy();
}

/// More sockets and addresses than anybody keeps.
fn fills_tables() {
    let mut held = Vec::new();
    let full = loop {
        match socket(libc::AF_INET, libc::SOCK_STREAM, 0) {
            Ok(socket) => held.push(socket),
            Err(errno) => break errno,
        }
    };
    assert_eq!(full, libc::ENFILE);
    assert!(held.len() > 100, "{}", held.len());
    // Those that are there still work, and so do others once they are gone.
    assert_eq!(connect(held[50].as_raw_fd(), &v4(PROXY)), Ok(()));
    drop(held);
    for _ in 0..2000 {
        drop(socket(libc::AF_INET, libc::SOCK_STREAM, 0).unwrap());
    }
    for last in 1..=200 {
        refused(connect(
            tcp().as_raw_fd(),
            &inet(Ipv4Addr::new(192, 0, 2, last), 443),
        ));
    }
    ask_proxy();
}

fn dies_while_it_connects() {
    for round in 0..200 {
        let child = fork(|| {
            loop {
                let _: Result<(), i32> = connect(tcp().as_raw_fd(), &v4(PROXY));
            }
        });
        // Each round ends it at another point of its call.
        thread::sleep(Duration::from_micros(round * 20));
        done(unsafe { libc::kill(child, libc::SIGKILL) });
        done(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) });
    }
    ask_proxy();
}

fn reaches_for_unix_sockets() {
    let outside = UnixAddress::from_abstract_name(OUTSIDE).unwrap();
    let told = UnixStream::connect_addr(&outside).unwrap_err();
    assert_eq!(told.kind(), io::ErrorKind::ConnectionRefused);
    // By every path that means it.
    std::os::unix::fs::symlink(WITHHELD, "link").unwrap();
    std::fs::hard_link(WITHHELD, "other-name").unwrap_or(());
    let here = std::env::current_dir().unwrap();
    for path in [
        WITHHELD.to_owned(),
        format!("./{WITHHELD}"),
        here.join(WITHHELD).to_str().unwrap().to_owned(),
        "link".to_owned(),
        "other-name".to_owned(),
    ] {
        match UnixStream::connect(&path) {
            Err(error) if path == "other-name" => {
                assert!([Some(libc::EACCES), Some(libc::ENOENT)].contains(&error.raw_os_error()));
            }
            told => assert_eq!(
                told.unwrap_err().raw_os_error(),
                Some(libc::EACCES),
                "{path}"
            ),
        }
    }
    assert!(UnixStream::connect(OPEN).is_ok());
    ask_proxy();
}

/// Links of `/proc` would mean the files of whoever follows them.
fn reaches_through_proc() {
    let here = std::env::current_dir().unwrap();
    for path in [
        format!("/proc/self/cwd/{OPEN}"),
        format!("/proc/self/root{}/{OPEN}", here.display()),
        format!("/proc/thread-self/cwd/{OPEN}"),
    ] {
        let told = UnixStream::connect(&path).unwrap_err();
        assert_eq!(told.raw_os_error(), Some(libc::ELOOP), "{path}");
    }
    for number in 0..64 {
        assert!(UnixStream::connect(format!("/proc/self/fd/{number}")).is_err());
    }
    // A file that only others may write to.
    if unsafe { libc::geteuid() } != 0 {
        let closed = std::os::unix::net::UnixListener::bind("closed.sock").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        std::fs::set_permissions("closed.sock", mode).unwrap();
        let told = UnixStream::connect("closed.sock").unwrap_err();
        assert_eq!(told.raw_os_error(), Some(libc::EACCES));
        drop(closed);
    }
    ask_proxy();
}
