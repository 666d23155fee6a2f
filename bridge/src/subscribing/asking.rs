//! Questions to the other bridge: what its link is, and fragments that are missing here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zenoh::Wait;
use zenoh::key_expr::KeyExpr;
use zenoh::query::{ConsolidationMode, Selector};
use zenoh::sample::Locality;

use super::arrived::Arrived;
use super::queue::Queue;

/// A question that has no further reply for so long is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer may take in all. Later replies are ignored.
const LONGEST: Duration = Duration::from_secs(600);

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    /// What the link is.
    State,
    /// `count` fragments from `first` on.
    Fragments { first: u64, count: u64 },
}

/// Closes the queue of replies when the network has dropped it: there are no more.
struct Replies(Arc<Queue>);

impl Drop for Replies {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Asks the bridge for `key`. The queue that is returned gets its replies, up to `limit` bytes at a time, and is closed after the
/// last one. It is closed at once if nobody can answer.
pub(super) fn ask(
    session: &zenoh::Session,
    key: &KeyExpr<'static>,
    question: Question,
    limit: usize,
) -> Arc<Queue> {
    let queue = Arc::new(Queue::new(limit));
    let replies = Replies(queue.clone());
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
            if let Ok(sample) = reply.result()
                && let Ok(arrived) = Arrived::new(sample.payload().to_bytes().into_owned(), Instant::now())
            {
                // Nobody waits for it any more if the queue is closed.
                _ = replies.0.put(arrived);
            }
        })
        .wait();
    if asked.is_err() {
        queue.close();
    }
    queue
}
