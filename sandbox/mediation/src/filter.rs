//! The system calls that the command may not make, or that the mediator makes for it.
//!
//! A deny list, answered by the kernel from registers alone, so nothing can change between check
//! and use. Everything else stays as the host's own profile has it.
//!
//! | call | answer |
//! |---|---|
//! | by another architecture's numbers | the process is killed |
//! | by x32 numbers | `ENOSYS` |
//! | `socket` of a TCP stream or of `AF_UNIX`; `connect`, `bind`, `listen` | the mediator's |
//! | `socket` of another inet type or protocol | `EACCES` |
//! | `socket` of another family, except `NETLINK_ROUTE`; `socketpair` of another than `AF_UNIX` | `EAFNOSUPPORT` |
//! | a send with `MSG_FASTOPEN`, which connects | `EOPNOTSUPP` |
//! | io_uring, which has its own `connect` | `ENOSYS` |
//! | reaching into other processes | `EPERM` |

use libc::{c_int, c_long, sock_filter};

/// Reach into other processes, or hold up who reads this one's memory.
const REFUSED: [c_long; 6] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_userfaultfd,
];

/// Programs fall back to an older call on `ENOSYS`.
const ABSENT: [c_long; 3] = [
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// `socket` is the fourth; see [`sockets`].
const MEDIATED: [c_long; 3] = [libc::SYS_connect, libc::SYS_bind, libc::SYS_listen];

/// Calls that send, and which of their arguments has the flags.
const SENDS: [(c_long, u32); 3] = [
    (libc::SYS_sendto, 3),
    (libc::SYS_sendmsg, 2),
    (libc::SYS_sendmmsg, 3),
];

/// `type` of `socket` is this, with flags above it (socket(2)).
const TYPE_MASK: u32 = 0xf;

/// The first of the x32 numbers, which come under the architecture of x86-64 (seccomp(2),
/// "Caveats").
const X32: u32 = 0x4000_0000;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7; // AUDIT_ARCH_AARCH64

// Offsets in `struct seccomp_data`, as the programs of both little-endian architectures see it.
const NUMBER: u32 = 0;
const ARCHITECTURE_FIELD: u32 = 4;

/// The lower half of an argument: the kernel takes all that is looked at here as `int`.
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;

const fn errno(number: c_int) -> u32 {
    libc::SECCOMP_RET_ERRNO | number.unsigned_abs()
}

/// Builds the program for this machine.
pub(crate) fn program() -> Vec<sock_filter> {
    let mut program = vec![
        load(ARCHITECTURE_FIELD),
        equals(ARCHITECTURE, 1, 0),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
        at_least(X32, 0, 1),
        answer(errno(libc::ENOSYS)),
    ];
    for number in REFUSED {
        on(&mut program, number, &[answer(errno(libc::EPERM))]);
    }
    for number in ABSENT {
        on(&mut program, number, &[answer(errno(libc::ENOSYS))]);
    }
    for number in MEDIATED {
        on(&mut program, number, &[answer(NOTIFY)]);
    }
    for (number, flags) in SENDS {
        let fast_open = libc::MSG_FASTOPEN.unsigned_abs();
        let refuse = [
            load(argument(flags)),
            has_bits(fast_open, 0, 1),
            answer(errno(libc::EOPNOTSUPP)),
            answer(ALLOW),
        ];
        on(&mut program, number, &refuse);
    }
    on(&mut program, libc::SYS_socket, &sockets());
    let pairs = [
        load(argument(0)),
        equal(libc::AF_UNIX, 0, 1),
        answer(ALLOW),
        answer(errno(libc::EAFNOSUPPORT)),
    ];
    on(&mut program, libc::SYS_socketpair, &pairs);
    program.push(answer(ALLOW));
    program
}

/// What becomes of `socket`.
fn sockets() -> [sock_filter; 17] {
    [
        load(argument(0)),
        equal(libc::AF_UNIX, 14, 0),
        equal(libc::AF_INET, 5, 0),
        equal(libc::AF_INET6, 4, 0),
        equal(libc::AF_NETLINK, 0, 2),
        // getifaddrs(3) asks by it.
        load(argument(2)),
        equal(libc::NETLINK_ROUTE, 8, 0),
        answer(errno(libc::EAFNOSUPPORT)),
        // Inet.
        load(argument(1)),
        and(TYPE_MASK),
        equal(libc::SOCK_STREAM, 0, 3),
        load(argument(2)),
        // Not MPTCP, nor SCTP, which connects by `setsockopt`.
        equal(0, 3, 0),
        equal(libc::IPPROTO_TCP, 2, 0),
        answer(errno(libc::EACCES)),
        answer(ALLOW),
        answer(NOTIFY),
    ]
}

/// `then`, which ends in an answer, for calls by `number`, which is loaded.
fn on(program: &mut Vec<sock_filter>, number: c_long, then: &[sock_filter]) {
    // The numbers of system calls and the lengths of these lists are small.
    program.push(equals(number as u32, 0, then.len() as u8));
    program.extend_from_slice(then);
}

const fn statement(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    }
}

const fn load(offset: u32) -> sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

const fn and(mask: u32) -> sock_filter {
    statement(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, mask)
}

const fn equal(value: c_int, jt: u8, jf: u8) -> sock_filter {
    equals(value.unsigned_abs(), jt, jf)
}

const fn equals(value: u32, jt: u8, jf: u8) -> sock_filter {
    statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, jt, jf, value)
}

const fn at_least(value: u32, jt: u8, jf: u8) -> sock_filter {
    statement(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, jt, jf, value)
}

const fn has_bits(bits: u32, jt: u8, jf: u8) -> sock_filter {
    statement(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, jt, jf, bits)
}

const fn answer(what: u32) -> sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, 0, 0, what)
}

#[cfg(test)]
mod tests;
