//! The system calls that a sandboxed command may not make.
//!
//! A deny list of calls that no step needs and that reach the kernel's riskiest parts, other
//! processes, or something that no namespace covers. bubblewrap loads the three programs just
//! before the command starts; the kernel applies the strictest answer.
//!
//! - `EPERM`: [`REFUSED`], `clone` with a namespace flag, `ioctl` that types into a terminal,
//!   sockets of families that no network namespace holds back (`AF_VSOCK` reaches the hypervisor,
//!   `AF_ALG` the kernel's crypto code).
//! - `ENOSYS`: [`ABSENT`]. `clone3` hides its flags from a filter; the C library falls back to
//!   `clone` on this answer.
//! - On x86-64, calls by the x32 numbers, which a list of plain numbers would miss, answer
//!   `ENOSYS`, and a 32-bit call kills.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

/// Answered with `EPERM`.
pub const REFUSED: &[libc::c_long] = &[
    // Keys of the kernel's keyring are not bound to a namespace.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // Kernel surface.
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_fanotify_init,
    libc::SYS_lookup_dcookie,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // The machine as a whole.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_vhangup,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_nfsservctl,
    // Memory placement.
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
];

/// Answered with `ENOSYS`, so that programs fall back to an older call.
pub const ABSENT: &[libc::c_long] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

/// Flags of `clone` that make a namespace.
const NAMESPACE_FLAGS: [libc::c_int; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// `ioctl` requests that put input into a terminal the launcher may own.
const TERMINAL_INPUT: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// Address families that are not held back by a network namespace.
const FAMILIES: [libc::c_int; 2] = [libc::AF_VSOCK, libc::AF_ALG];

/// The programs in the kernel's `struct sock_filter` form, one byte string each, as bwrap's
/// `--add-seccomp-fd` takes them.
///
/// # Errors
/// The processor architecture is neither x86-64 nor aarch64.
pub(crate) fn programs() -> Result<Vec<Vec<u8>>, seccompiler::Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().map(|number| (*number, Vec::new())).collect();
    refused.insert(
        libc::SYS_clone,
        any(
            0,
            NAMESPACE_FLAGS.map(|flag| (flag as u64, Op::MaskedEq(flag as u64))),
        )?,
    );
    refused.insert(
        libc::SYS_ioctl,
        any(1, TERMINAL_INPUT.map(|request| (request, Op::Eq)))?,
    );
    refused.insert(
        libc::SYS_socket,
        any(0, FAMILIES.map(|family| (family as u64, Op::Eq)))?,
    );
    let absent = ABSENT.iter().map(|number| (*number, Vec::new())).collect();
    let mut programs = vec![
        bytes(&compile(refused, libc::EPERM, arch)?),
        bytes(&compile(absent, libc::ENOSYS, arch)?),
    ];
    if cfg!(target_arch = "x86_64") {
        programs.push(bytes(&no_x32()));
    }
    Ok(programs)
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: libc::c_int,
    arch: TargetArch,
) -> Result<BpfProgram, seccompiler::Error> {
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        arch,
    )?;
    Ok(filter.try_into()?)
}

/// One rule for each alternative of one argument.
fn any<const N: usize>(
    argument: u8,
    alternatives: [(u64, Op); N],
) -> Result<Vec<SeccompRule>, seccompiler::Error> {
    alternatives
        .into_iter()
        .map(|(value, op)| {
            Ok(SeccompRule::new(vec![SeccompCondition::new(
                argument,
                Len::Dword,
                op,
                value,
            )?])?)
        })
        .collect()
}

/// Numbers from 0x4000_0000 on are the x32 calling convention, under the same architecture tag
/// (seccomp(2), "Caveats").
fn no_x32() -> BpfProgram {
    const LOAD_NUMBER: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_IF_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let statement = |code, jt, jf, k| seccompiler::sock_filter { code, jt, jf, k };
    vec![
        statement(LOAD_NUMBER, 0, 0, 0),
        statement(JUMP_IF_AT_LEAST, 0, 1, 0x4000_0000),
        statement(
            RETURN,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs(),
        ),
        statement(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

fn bytes(program: &BpfProgram) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for statement in program {
        bytes.extend_from_slice(&statement.code.to_ne_bytes());
        bytes.extend_from_slice(&[statement.jt, statement.jf]);
        bytes.extend_from_slice(&statement.k.to_ne_bytes());
    }
    bytes
}
