//! Makes the kernel refuse system calls to this thread and the threads that it starts later, or to all threads of
//! the process (seccomp).

use nix::errno::Errno;
use nix::libc;

/// What the filter does with a call.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Allow,
    /// The call fails with this error.
    Error(Errno),
    /// The process is killed by SIGSYS.
    Kill,
}

impl Answer {
    fn code(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Error(error) => libc::SECCOMP_RET_ERRNO | error as u32,
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// From now on, `call` fails as on a kernel that does not know it.
///
/// # Errors
/// The kernel refuses to install filters.
pub(crate) fn forget(call: libc::c_long) -> Result<(), Errno> {
    install(filter(&[call], Answer::Error(Errno::ENOSYS), Answer::Allow), 0)
}

/// From now on, `calls` are not permitted to any thread of this process.
///
/// # Errors
/// The kernel refuses to install filters.
pub(crate) fn forbid_in_all_threads(calls: &[libc::c_long]) -> Result<(), Errno> {
    let program = filter(calls, Answer::Error(Errno::EPERM), Answer::Allow);
    install(program, libc::SECCOMP_FILTER_FLAG_TSYNC)
}

/// From now on, `call` kills this process (SIGSYS).
///
/// # Errors
/// The kernel refuses to install filters.
pub(crate) fn forbid(call: libc::c_long) -> Result<(), Errno> {
    install(filter(&[call], Answer::Kill, Answer::Allow), 0)
}

/// From now on, a system call outside of `allowed` kills this process (SIGSYS).
///
/// # Errors
/// The kernel refuses to install filters.
pub(crate) fn allow_only(allowed: &[libc::c_long]) -> Result<(), Errno> {
    install(filter(allowed, Answer::Allow, Answer::Kill), 0)
}

/// From now on, `call` fails with `error` if its argument `index` (from 0) is more than `most`.
///
/// # Errors
/// The kernel refuses to install filters.
pub(crate) fn fail_above(call: libc::c_long, index: u32, most: u32, error: Errno) -> Result<(), Errno> {
    // Arguments are words of 64 bits after the number of the call, the architecture and an address.
    let argument = 16 + 8 * index;
    let (low, high) = if cfg!(target_endian = "little") { (0, 4) } else { (4, 0) };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let compare = |with: u32| libc::BPF_JMP | with | libc::BPF_K;
    let program = vec![
        step(load, 0, 0, 0),
        step(compare(libc::BPF_JEQ), call as u32, 0, 4),
        step(load, argument + high, 0, 0),
        step(compare(libc::BPF_JGT), 0, 3, 0),
        step(load, argument + low, 0, 0),
        step(compare(libc::BPF_JGT), most, 1, 0),
        step(libc::BPF_RET | libc::BPF_K, Answer::Allow.code(), 0, 0),
        step(libc::BPF_RET | libc::BPF_K, Answer::Error(error).code(), 0, 0),
    ];
    install(program, 0)
}

/// An instruction of a filter, and how many to skip after it if a comparison holds, and if it does not.
fn step(code: u32, value: u32, if_true: u8, if_false: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: if_true, jf: if_false, k: value }
}

fn filter(calls: &[libc::c_long], for_these: Answer, for_others: Answer) -> Vec<libc::sock_filter> {
    // Load the number of the call, which is the first field that a filter sees. Compare it with each of
    // `calls`.
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0)];
    for (index, call) in calls.iter().enumerate() {
        let to_the_last = (calls.len() - index) as u8;
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *call as u32, to_the_last, 0));
    }
    for answer in [for_others, for_these] {
        program.push(step(libc::BPF_RET | libc::BPF_K, answer.code(), 0, 0));
    }
    program
}

fn install(mut program: Vec<libc::sock_filter>, flags: libc::c_ulong) -> Result<(), Errno> {
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the first call takes numbers only. The second reads the program, which lives until it returns.
    let result = unsafe {
        match libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) {
            0 => libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program),
            failed => failed.into(),
        }
    };
    // A positive result names a thread that has a filter of its own.
    if Errno::result(result)? == 0 { Ok(()) } else { Err(Errno::EBUSY) }
}
