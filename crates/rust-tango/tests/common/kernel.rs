//! Makes the kernel refuse system calls to this thread and the threads that it starts later (seccomp).

use nix::errno::Errno;
use nix::libc;

/// What the filter does with a call.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Allow,
    /// The call fails as on a kernel that does not know it.
    Unknown,
    /// The process is killed by SIGSYS.
    Kill,
}

impl Answer {
    fn code(self) -> u32 {
        match self {
            Self::Allow => libc::SECCOMP_RET_ALLOW,
            Self::Unknown => libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
            Self::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        }
    }
}

/// From now on, `call` fails as on a kernel that does not know it.
///
/// # Errors
/// The kernel refuses to install filters.
pub(crate) fn forget(call: libc::c_long) -> Result<(), Errno> {
    filter(&[call], Answer::Unknown, Answer::Allow)
}

/// From now on, `call` kills this process (SIGSYS).
///
/// # Errors
/// The kernel refuses to install filters.
pub(crate) fn forbid(call: libc::c_long) -> Result<(), Errno> {
    filter(&[call], Answer::Kill, Answer::Allow)
}

/// From now on, a system call outside of `allowed` kills this process (SIGSYS).
///
/// # Errors
/// The kernel refuses to install filters.
pub(crate) fn allow_only(allowed: &[libc::c_long]) -> Result<(), Errno> {
    filter(allowed, Answer::Allow, Answer::Kill)
}

fn filter(calls: &[libc::c_long], for_these: Answer, for_others: Answer) -> Result<(), Errno> {
    let step = |code: u32, value: u32, if_equal: u8| libc::sock_filter {
        code: code as u16,
        jt: if_equal,
        jf: 0,
        k: value,
    };
    // Load the number of the call, which is the first field that a filter sees. Compare it with each of
    // `calls`.
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (index, call) in calls.iter().enumerate() {
        let to_the_last = (calls.len() - index) as u8;
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, *call as u32, to_the_last));
    }
    for answer in [for_others, for_these] {
        program.push(step(libc::BPF_RET | libc::BPF_K, answer.code(), 0));
    }
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the first call takes numbers only. The second reads the program, which lives until it returns.
    let result = unsafe {
        match libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) {
            0 => libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program),
            failed => failed,
        }
    };
    Errno::result(result).map(drop)
}
