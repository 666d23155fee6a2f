//! Measurements of tasks that await messages, in one runtime on the consumer's core.

use std::sync::mpsc::channel;
use std::thread;

use crate::channel::{Awaiting, Sender, TaskChannel};
use crate::cores::{Stopwatch, pin, spawn};
use crate::message::{Source, is_correct};
use crate::peers::runtime;
use crate::plan::{Plan, Sample};

/// Messages from a thread to one task.
pub(crate) fn one_way<C: TaskChannel<N, D>, const N: usize, const D: usize>(plan: &Plan) -> Sample {
    let (mut tx, mut rx) = C::pair();
    thread::scope(|scope| {
        let reader = spawn(scope, || {
            pin(plan.cores.consumer);
            runtime().block_on(async {
                let mut wrong = receive(&mut rx, 0..plan.warm).await;
                let watch = Stopwatch::start();
                wrong += receive(&mut rx, plan.warm..plan.total()).await;
                Sample::window(plan.count, watch.stop(), wrong)
            })
        });
        let producer = spawn(scope, || {
            pin(plan.cores.producer);
            let (watch, mut source) = (Stopwatch::start(), Source::new());
            (0..plan.total()).for_each(|number| tx.send(source.message(number)));
            watch.stop()
        });
        let span = producer.join().expect("a panic ends the process");
        reader.join().expect("a panic ends the process").with_other_side(span, false)
    })
}

/// Messages from a thread to many tasks in turn, each of which has a channel of its own.
pub(crate) fn many<C: TaskChannel<N, D>, const N: usize, const D: usize>(plan: &Plan) -> Sample {
    let (mut senders, receivers): (Vec<_>, Vec<_>) = (0..plan.readers()).map(|_| C::pair()).unzip();
    let each = plan.count.div_ceil(senders.len() as u64);
    let (started, has_started) = channel();
    thread::scope(|scope| {
        let readers = spawn(scope, move || {
            pin(plan.cores.consumer);
            let local = tokio::task::LocalSet::new();
            let task = |mut rx| local.spawn_local(async move { receive(&mut rx, 0..each).await });
            let tasks: Vec<_> = receivers.into_iter().map(task).collect();
            local.block_on(&runtime(), async {
                // The tasks run once, and wait, before this continues.
                tokio::task::yield_now().await;
                started.send(()).expect("the producer waits");
                let watch = Stopwatch::start();
                let mut wrong = 0;
                for task in tasks {
                    wrong += task.await.expect("a panic ends the process");
                }
                Sample::window(each * plan.readers() as u64, watch.stop(), wrong)
            })
        });
        let producer = spawn(scope, move || {
            pin(plan.cores.producer);
            has_started.recv().expect("the tasks start");
            let (watch, mut source) = (Stopwatch::start(), Source::new());
            for number in 0..each {
                senders.iter_mut().for_each(|tx| tx.send(source.message(number)));
            }
            // A channel ends with its sender, and the tasks have not read everything yet.
            (watch.stop(), senders)
        });
        let sample = readers.join().expect("a panic ends the process");
        let (span, _senders) = producer.join().expect("a panic ends the process");
        sample.with_other_side(span, false)
    })
}

async fn receive<const N: usize>(rx: &mut impl Awaiting<N>, numbers: std::ops::Range<u64>) -> u64 {
    let mut wrong = 0;
    for number in numbers {
        wrong += u64::from(!rx.next(|bytes| is_correct::<N>(bytes, number)).await);
    }
    wrong
}
