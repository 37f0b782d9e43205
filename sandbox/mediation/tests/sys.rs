//! System calls that tests make.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

/// # Panics
/// With the system's answer, if it is negative.
pub fn done(result: impl Into<i64>) -> i64 {
    let result = result.into();
    assert!(result >= 0, "{}", io::Error::last_os_error());
    result
}

/// The system's number of the last error.
pub fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap()
}

/// A network namespace with loopback, up, that has the addresses of the traps.
pub fn own_network() {
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    if user == 0 {
        done(unsafe { libc::unshare(libc::CLONE_NEWNET) });
    } else {
        done(unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) });
        fs::write("/proc/self/setgroups", "deny").unwrap();
        fs::write("/proc/self/uid_map", format!("{user} {user} 1")).unwrap();
        fs::write("/proc/self/gid_map", format!("{group} {group} 1")).unwrap();
    }
    let socket = done(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) }) as i32;
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    name(&mut request, b"lo");
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    done(unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw mut request) });
    let aliases: [(&[u8], [u8; 4]); 3] = [
        (b"lo:1", [169, 254, 170, 2]),
        (b"lo:2", [169, 254, 169, 254]),
        (b"lo:3", [10, 77, 0, 1]),
    ];
    for (alias, address) in aliases {
        name(&mut request, alias);
        let address = inet(Ipv4Addr::from(address), 0);
        request.ifr_ifru.ifru_addr =
            unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(address) };
        done(unsafe { libc::ioctl(socket, libc::SIOCSIFADDR, &raw mut request) });
    }
    unsafe { libc::close(socket) };
    // As non-root, ports below 1024 need a capability of this namespace, which is there.
}

fn name(request: &mut libc::ifreq, name: &[u8]) {
    request.ifr_name = [0; 16];
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = from.cast_signed();
    }
}

pub fn inet(address: Ipv4Addr, port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes(address.octets()),
        },
        sin_zero: [0; 8],
    }
}

/// Becomes `user`, if it is root, and gives up all capabilities, if it is not.
pub fn become_user(user: Option<u32>) {
    if unsafe { libc::geteuid() } != 0 {
        // Of the namespace that it has made.
        let header = [0x2008_0522_u32, 0]; // _LINUX_CAPABILITY_VERSION_3, this thread
        let none = [0_u32; 6];
        done(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) });
    } else if let Some(user) = user {
        done(unsafe { libc::setgroups(0, std::ptr::null()) });
        done(unsafe { libc::setresgid(user, user, user) });
        done(unsafe { libc::setresuid(user, user, user) });
    }
}

/// As init hides itself.
pub fn hide() {
    done(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) });
}

/// A process that has all descriptors of this one, is no descendant of it, and ends with it.
pub fn leave_a_stranger() {
    let mut ends = [0; 2];
    done(unsafe { libc::pipe(ends.as_mut_ptr()) });
    let child = done(unsafe { libc::fork() }) as i32;
    if child > 0 {
        done(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) });
        unsafe { libc::close(ends[0]) };
        // The command does not inherit the other end.
        done(unsafe { libc::fcntl(ends[1], libc::F_SETFD, libc::FD_CLOEXEC) });
        return;
    }
    unsafe {
        if libc::fork() == 0 {
            // Changing the user has hidden it.
            libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0);
            libc::close(ends[1]);
            for output in [1, 2] {
                libc::close(output);
            }
            let mut byte = 0_u8;
            libc::read(ends[0], (&raw mut byte).cast(), 1);
        }
        libc::_exit(0);
    }
}

/// Refuses the flag that came with Linux 5.19, so that signals interrupt mediated calls.
pub fn play_an_old_kernel() {
    let statement = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let jump = libc::BPF_JMP | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let flag = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as u32;
    let program = [
        statement(load, 0, 0, 0),
        statement(jump | libc::BPF_JEQ, 0, 3, libc::SYS_seccomp as u32),
        statement(load, 0, 0, 24),
        statement(jump | libc::BPF_JSET, 0, 1, flag),
        statement(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EINVAL as u32),
        statement(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    done(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) });
    done(unsafe {
        let set = libc::SECCOMP_SET_MODE_FILTER;
        libc::syscall(libc::SYS_seccomp, set, 0, &raw const program)
    });
}
