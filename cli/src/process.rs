//! No copy of the process's memory outlives it, and a file-size limit is an error of one write:
//! both hold from the first line of the command on.

/// Sets up this process. What fails here costs a protection, and never the call.
pub(super) fn begin() {
    leave_no_core();
    survive_the_file_size_limit();
}

/// A core file would hold every token that the process has seen. The limit is for the kernel that
/// writes the file itself, the flag for one that hands it to a program (systemd-coredump); it also
/// keeps other processes of the user from attaching, as ssh-agent does it.
fn leave_no_core() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// A vault larger than `ulimit -f` must not end the process between an answer and its storing. A
/// handler that does nothing, and not *ignore*, which programs that are started from here would
/// inherit: the write then fails with EFBIG.
#[allow(unsafe_code, reason = "the standard library cannot handle a signal")]
fn survive_the_file_size_limit() {
    // SAFETY: the handler does nothing, so there is nothing that it must not do.
    let _ = unsafe { signal_hook::low_level::register(signal_hook::consts::SIGXFSZ, || {}) };
}
