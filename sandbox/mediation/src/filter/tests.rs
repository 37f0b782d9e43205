//! The program, played by an interpreter of its few instructions: some answers, as those to x32
//! numbers, look alike on a kernel that has no such calls.

use super::*;

/// What the kernel would do with a call. Panics on an instruction that it would not load.
fn judge(architecture: u32, number: c_long, arguments: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend((number as u32).to_le_bytes());
    data.extend(architecture.to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    for argument in arguments {
        data.extend(argument.to_le_bytes());
    }
    let program = program();
    let (mut next, mut value) = (0, 0_u32);
    loop {
        let sock_filter { code, jt, jf, k } = program[next];
        next += 1;
        let by = |yes: bool| usize::from(if yes { jt } else { jf });
        match code {
            0x20 => {
                let from = k as usize;
                value = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
            }
            0x54 => value &= k,
            0x15 => next += by(value == k),
            0x35 => next += by(value >= k),
            0x45 => next += by(value & k != 0),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn here(number: c_long, arguments: [c_int; 4]) -> u32 {
    let [a, b, c, d] = arguments.map(|argument| u64::from(argument.cast_unsigned()));
    judge(ARCHITECTURE, number, [a, b, c, d, 0, 0])
}

fn socket(family: c_int, kind: c_int, protocol: c_int) -> u32 {
    here(libc::SYS_socket, [family, kind, protocol, 0])
}

#[test]
fn only_streams_of_tcp_and_unix_sockets_reach_the_mediator() {
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    for family in [libc::AF_INET, libc::AF_INET6] {
        assert_eq!(socket(family, libc::SOCK_STREAM, 0), NOTIFY);
        assert_eq!(
            socket(family, libc::SOCK_STREAM | flags, libc::IPPROTO_TCP),
            NOTIFY
        );
        for (kind, protocol) in [
            (libc::SOCK_DGRAM, 0),
            (libc::SOCK_DGRAM | flags, libc::IPPROTO_ICMP),
            (libc::SOCK_RAW, libc::IPPROTO_TCP),
            (10, 0), // SOCK_PACKET
            (libc::SOCK_SEQPACKET, libc::IPPROTO_SCTP),
            (libc::SOCK_STREAM, libc::IPPROTO_SCTP),
            (libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
        ] {
            let told = socket(family, kind, protocol);
            assert_eq!(told, errno(libc::EACCES), "{kind} {protocol}");
        }
    }
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        assert_eq!(socket(libc::AF_UNIX, kind | flags, 0), NOTIFY);
    }
    for number in MEDIATED {
        assert_eq!(here(number, [3, 0, 16, 0]), NOTIFY);
    }
}

#[test]
fn no_other_family_is_there() {
    let netlink = |protocol| socket(libc::AF_NETLINK, libc::SOCK_RAW, protocol);
    assert_eq!(netlink(libc::NETLINK_ROUTE), ALLOW);
    assert_eq!(netlink(libc::NETLINK_SOCK_DIAG), errno(libc::EAFNOSUPPORT));
    for family in (0..64).filter(|family| {
        ![
            libc::AF_UNIX,
            libc::AF_INET,
            libc::AF_INET6,
            libc::AF_NETLINK,
        ]
        .contains(family)
    }) {
        let told = socket(family, libc::SOCK_STREAM, 0);
        assert_eq!(told, errno(libc::EAFNOSUPPORT), "{family}");
    }
    let pair = |family| here(libc::SYS_socketpair, [family, libc::SOCK_STREAM, 0, 0]);
    assert_eq!(pair(libc::AF_UNIX), ALLOW);
    assert_eq!(pair(libc::AF_TIPC), errno(libc::EAFNOSUPPORT));
}

#[test]
fn the_kernel_sees_only_the_lower_half_of_an_argument_and_so_do_we() {
    let high = 1 << 32;
    let family = high | libc::AF_INET as u64;
    let told = judge(
        ARCHITECTURE,
        libc::SYS_socket,
        [family, high | 2, high, 0, 0, 0],
    );
    assert_eq!(told, errno(libc::EACCES));
}

#[test]
fn a_send_does_not_connect() {
    let fast = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    let usual = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT | libc::MSG_ZEROCOPY;
    let refused = errno(libc::EOPNOTSUPP);
    for (call, told) in [(fast, refused), (usual, ALLOW)] {
        assert_eq!(here(libc::SYS_sendto, [3, 0, 1, call]), told);
        assert_eq!(here(libc::SYS_sendmsg, [3, 0, call, 0]), told);
        assert_eq!(here(libc::SYS_sendmmsg, [3, 0, 1, call]), told);
    }
}

#[test]
fn other_numberings_are_no_way_around() {
    for number in [libc::SYS_connect, libc::SYS_socket, libc::SYS_write] {
        let x32 = number | c_long::from(X32);
        assert_eq!(judge(ARCHITECTURE, x32, [0; 6]), errno(libc::ENOSYS));
        // AUDIT_ARCH_I386, AUDIT_ARCH_ARM.
        for other in [0x4000_0003, 0x4000_0028] {
            assert_eq!(judge(other, number, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
        }
    }
    assert_eq!(here(libc::SYS_write, [1, 0, 1, 0]), ALLOW);
}

#[test]
fn the_rest_of_the_list_is_refused() {
    for number in REFUSED {
        assert_eq!(here(number, [0; 4]), errno(libc::EPERM));
    }
    for number in ABSENT {
        assert_eq!(here(number, [0; 4]), errno(libc::ENOSYS));
    }
}
