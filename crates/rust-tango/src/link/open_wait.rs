//! Opening a link as soon as it exists. [`OpenWait`] is the future that does so.
//!
//! A new link gets its name by one rename, in a folder that may be missing itself. Nothing notifies a process of that
//! but inotify, which needs a descriptor and a watch, both limited, for each call. So the link is looked for again and
//! again, with pauses that grow.

use std::path::Path;
#[cfg(feature = "async")]
use std::path::PathBuf;
#[cfg(feature = "async")]
use std::pin::Pin;
#[cfg(feature = "async")]
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::handle::Link;
use crate::error::{LinkError, LinkErrorKind};
#[cfg(feature = "async")]
use crate::live::Alarm;
use crate::shm;

/// The first pause: a link that comes soon is noticed without a visible delay.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause. To look takes some tens of microseconds, so a waiting thread uses about a thousandth of a core.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// The time that a call may still wait, and the pauses that it makes.
#[derive(Debug)]
struct Pauses {
    /// `None`: no limit.
    timeout: Option<Duration>,
    begin: Instant,
    next: Duration,
}

impl Pauses {
    fn new(timeout: Option<Duration>) -> Self {
        Self { timeout, begin: Instant::now(), next: FIRST_PAUSE }
    }

    /// How long to wait before the next look. `None`: the time is over.
    fn next(&mut self) -> Option<Duration> {
        let left = self.timeout.map_or(Duration::MAX, |timeout| timeout.saturating_sub(self.begin.elapsed()));
        let pause = self.next.min(left);
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        (!pause.is_zero()).then_some(pause)
    }

    /// The error when the time is over.
    fn timed_out(&self, folder: &Path, name: &str) -> LinkError {
        let missing = if folder.is_dir() { "" } else { " (there is no such folder)" };
        let message = format!(
            "there is no link named {name} in {}{missing}, after {:?} of waiting",
            folder.display(),
            self.timeout.unwrap_or_default()
        );
        LinkError::new(LinkErrorKind::NotFound, message)
    }
}

/// Links in shared memory that may not exist yet.
impl Link {
    /// [`Link::open`], as soon as there is a link of this name. Waits for it for up to `timeout`; `None`: without a
    /// limit.
    ///
    /// A link that is there is opened at once. Otherwise the call looks for it again after a pause of 1 millisecond,
    /// then 2, 4, and so on, up to 50. So it returns up to that much later than the link is there, and a thread that
    /// waits takes next to no processor time. The folder of links may be missing at first, too.
    ///
    /// Only *no such link* is waited for; each other error is returned at once. A link is complete as soon as it has
    /// its name. But it need not have a producer: the link may be new, or what a producer left behind when it ended or
    /// died. [`Link::status`] tells, and [`Consumer::wait_for_producer`](crate::Consumer::wait_for_producer) waits for
    /// the next one. The link may be removed before the caller uses it; to join is then
    /// [`LinkErrorKind::NotFound`], and the caller can wait again.
    ///
    /// # Errors
    ///
    /// [`LinkErrorKind::NotFound`] if there is no link of this name when the time is over; the message names the link,
    /// its folder and the time. Otherwise as [`Link::open`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use rust_tango::Link;
    ///
    /// let mut rx = Link::open_wait("quotes", Some(Duration::from_secs(10)))?.consumer()?;
    /// while let Some(fragment) = rx.wait()? {
    ///     println!("{} bytes", fragment.payload.len());
    /// }
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn open_wait(name: &str, timeout: Option<Duration>) -> Result<Self, LinkError> {
        Self::open_wait_in(Self::folder_of_links(), name, timeout)
    }

    /// [`Link::open_wait`] in another folder of links.
    ///
    /// # Errors
    ///
    /// As [`Link::open_wait`].
    ///
    /// # Examples
    ///
    /// ```
    /// use rust_tango::Link;
    /// # let folder = std::env::temp_dir().join(format!("tango-open-wait-{}", std::process::id()));
    ///
    /// let reader = std::thread::spawn({
    ///     let folder = folder.clone();
    ///     move || Link::open_wait_in(folder, "quotes", None)
    /// });
    /// let made = Link::builder().dir(&folder).create("quotes")?;
    /// assert_eq!(reader.join().unwrap()?.path(), made.path());
    /// # std::fs::remove_dir_all(&folder).unwrap();
    /// # Ok::<(), rust_tango::LinkError>(())
    /// ```
    pub fn open_wait_in(
        folder: impl AsRef<Path>,
        name: &str,
        timeout: Option<Duration>,
    ) -> Result<Self, LinkError> {
        let folder = shm::base_dir(Some(folder.as_ref()));
        let mut pauses = Pauses::new(timeout);
        loop {
            match Self::open_in(&folder, name) {
                Err(error) if error.is_not_found() => {}
                result => return result,
            }
            let pause = pauses.next().ok_or_else(|| pauses.timed_out(&folder, name))?;
            std::thread::sleep(pause);
        }
    }
}

/// Links in shared memory that may not exist yet, for tasks.
#[cfg(feature = "async")]
impl Link {
    /// [`Link::open_wait`] as a future. See [`OpenWait`], which has an example.
    pub fn open_wait_async(name: &str, timeout: Option<Duration>) -> OpenWait {
        Self::open_wait_async_in(Self::folder_of_links(), name, timeout)
    }

    /// [`Link::open_wait_in`] as a future. See [`OpenWait`], which has an example.
    pub fn open_wait_async_in(folder: impl AsRef<Path>, name: &str, timeout: Option<Duration>) -> OpenWait {
        let folder = shm::base_dir(Some(folder.as_ref()));
        OpenWait { folder, name: name.to_owned(), pauses: Pauses::new(timeout), alarm: None }
    }
}

/// A future that opens a link as soon as it exists: [`Link::open_wait_async`].
///
/// It works under any executor, without its help: one thread of the process, `tango-timer`, wakes the tasks of all such
/// futures. The thread starts when the first of them finds no link, and ends soon after the last is ready or dropped.
/// All signals are blocked in it, except those that a thread raises by a fault of its own. A waker that blocks delays
/// the others.
///
/// When the link is looked for, and what can change before the caller uses it, is as for [`Link::open_wait`]. The task
/// looks itself, which takes some tens of microseconds and opens files. The time limit begins when the future is made.
/// Dropping the future early has no effect on any link. It may be moved to a forked child, and awaited there.
///
/// # Errors
///
/// Ready with the errors of [`Link::open_wait`]; also [`LinkErrorKind::System`] if there is no thread to be had.
///
/// # Examples
///
/// ```
/// use rust_tango::Link;
/// # let folder = std::env::temp_dir().join(format!("tango-open-async-{}", std::process::id()));
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # let made = Link::builder().dir(&folder).create("quotes")?;
/// # let example = async {
///
/// let mut rx = Link::open_wait_async_in(&folder, "quotes", None).await?.consumer()?.into_async()?;
/// # drop(rx);
/// # Ok::<(), rust_tango::LinkError>(())
/// # };
/// # runtime.block_on(example)?;
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "async")]
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct OpenWait {
    folder: PathBuf,
    name: String,
    pauses: Pauses,
    /// Set when the link was looked for in vain.
    alarm: Option<Alarm>,
}

#[cfg(feature = "async")]
impl Future for OpenWait {
    type Output = Result<Link, LinkError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Polled for another reason, such as another branch of a `select!`.
        if this.alarm.as_mut().is_some_and(|alarm| alarm.is_pending(cx.waker())) {
            return Poll::Pending;
        }
        match Link::open_in(&this.folder, &this.name) {
            Err(error) if error.is_not_found() => {}
            result => {
                this.alarm = None;
                return Poll::Ready(result);
            }
        }
        let Some(pause) = this.pauses.next() else {
            this.alarm = None;
            return Poll::Ready(Err(this.pauses.timed_out(&this.folder, &this.name)));
        };
        match Alarm::after(pause, cx.waker(), this.alarm.take()) {
            Ok(alarm) => this.alarm = Some(alarm),
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Pending
    }
}

#[cfg(all(test, feature = "async", not(miri)))]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_poll_for_another_reason_does_not_look_again() {
        let nowhere = Path::new("/dev/shm").join(format!("tango-nowhere-{}", std::process::id()));
        let mut future = Link::open_wait_async_in(nowhere, "quotes", None);
        future.pauses.next = Duration::from_secs(3600);
        let mut poll = || {
            assert!(Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())).is_pending());
            format!("{future:?}") // with the time of the alarm
        };
        assert_eq!(poll(), poll());
    }

    #[test]
    fn pauses_grow_and_end() {
        let mut pauses = Pauses::new(None);
        let lengths: Vec<_> = (0..8).map(|_| pauses.next().unwrap().as_millis()).collect();
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 50, 50]);
        assert_eq!(Pauses::new(Some(Duration::ZERO)).next(), None);
        let mut short = Pauses::new(Some(Duration::from_millis(30)));
        short.next = LONGEST_PAUSE;
        assert!(short.next().is_none_or(|pause| pause <= Duration::from_millis(30)));
    }
}
