//! How a static program resolves names of hosts.
//!
//! glibc looks names up in the order that nsswitch.conf(5) states, by modules. `files` and `dns`
//! are part of libc.a since 2.34. Any other module is a shared library of the very glibc that the
//! program was linked with, which a static program does not have: it fails, and with it each name
//! that the module stands before.

/// Makes a static program look names of hosts up in `/etc/hosts` and by DNS, whatever
/// nsswitch.conf(5) says. Call it before the first name is resolved. In a program that is linked
/// dynamically, it does nothing.
pub fn resolve_without_modules() {
    #[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
    configure();
}

#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
#[expect(unsafe_code, reason = "glibc has this setting for C only")]
fn configure() {
    use std::ffi::{c_char, c_int};

    unsafe extern "C" {
        /// nss.h.
        fn __nss_configure_lookup(database: *const c_char, line: *const c_char) -> c_int;
    }
    // SAFETY: both arguments are texts that live for ever. It fails only for a line that it cannot
    // parse.
    unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
}
