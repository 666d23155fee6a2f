//! Questions to the other bridge: what its link is, and fragments that are missing here.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use zenoh::Wait;
use zenoh::key_expr::KeyExpr;
use zenoh::query::{ConsolidationMode, Selector};
use zenoh::sample::Locality;

use super::arrived::Arrived;
use super::queue::Queue;

/// A question that has no further reply for so long is given up, and asked again.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// A bridge that answers nothing is asked again for so long. Longer than it takes to connect again after most cuts.
pub(super) const PERSISTENCE: Duration = Duration::from_secs(60);
/// Time until a question is asked again that nobody has heard.
pub(super) const PAUSE: Duration = Duration::from_millis(200);
/// How long to wait after a refusal, in milliseconds. All that were refused at a time do not come back at a time.
const PAUSES: std::ops::RangeInclusive<u64> = 50..=200;
/// How long an answer may take in all. Later replies are ignored.
const LONGEST: Duration = Duration::from_secs(600);

/// Time until a question is asked again that was refused: another one each time.
pub(super) fn pause_of_refused() -> Duration {
    let random = RandomState::new().build_hasher().finish();
    Duration::from_millis(PAUSES.start() + random % (PAUSES.end() - PAUSES.start() + 1))
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    /// What the link is.
    State,
    /// `count` fragments from `first` on.
    Fragments { first: u64, count: u64 },
}

/// The replies to a question.
#[derive(Debug)]
pub(super) struct Answer {
    /// Gets the replies, and is closed after the last one. It is closed at once if nobody can answer.
    pub(super) replies: Queue,
    /// Whether the other bridge has said that it does not answer now.
    pub(super) is_refused: AtomicBool,
}

/// Closes the queue of replies when the network has dropped it: there are no more.
struct Replies(Arc<Answer>);

impl Drop for Replies {
    fn drop(&mut self) {
        self.0.replies.close();
    }
}

/// Asks the bridge for `key`. The queue of its replies takes up to `limit` bytes at a time.
pub(super) fn ask(
    session: &zenoh::Session,
    key: &KeyExpr<'static>,
    question: Question,
    limit: usize,
) -> Arc<Answer> {
    let answer = Arc::new(Answer { replies: Queue::new(limit), is_refused: AtomicBool::new(false) });
    let replies = Replies(answer.clone());
    let parameters = match question {
        Question::State => "state".to_owned(),
        Question::Fragments { first, count } => format!("first={first};count={count}"),
    };
    let asked = session
        .get(Selector::owned(key.clone(), parameters))
        // Otherwise only the last reply of a key is handed out.
        .consolidation(ConsolidationMode::None)
        .allowed_destination(Locality::Remote)
        .timeout(LONGEST)
        .callback(move |reply| {
            let Ok(sample) = reply.result() else {
                return replies.0.is_refused.store(true, Relaxed);
            };
            if let Ok(arrived) = Arrived::new(sample.payload().to_bytes().into_owned(), Instant::now()) {
                // Nobody waits for it any more if the queue is closed.
                _ = replies.0.replies.put(arrived);
            }
        })
        .wait();
    if asked.is_err() {
        answer.replies.close();
    }
    answer
}
